"""The documentation site: `make docs`. Warnings are errors."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nbclient import NotebookClient

import cnnlab

DOCS = Path(__file__).resolve().parent
sys.path.insert(0, str(DOCS))
# For executed notebooks, so that they look for no accelerator, and print the same wherever they are
# built: plain text of one width, by this installation's `cnnlab`.
os.environ |= {"JAX_PLATFORMS": "cpu", "COLUMNS": "90", "TTY_COMPATIBLE": "0"}
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

project = "cnnlab"
author = "the cnnlab developers"
copyright = author
version = release = cnnlab.__version__

extensions = [
  "myst_nb",
  "sphinx.ext.autodoc",
  "sphinx.ext.napoleon",
  "sphinx_copybutton",
  "sphinx_design",
  "extensions.claims",
  "extensions.code_role",
  "extensions.docstrings",
  "extensions.reference",
]
exclude_patterns = ["extensions"]
default_role = "code_or_link"
html_theme = "furo"
html_title = f"cnnlab {version}"
html_theme_options = {"top_of_page_buttons": []}
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["site.css"]

# A type that two modules define (names in docstrings that do not exist are told by code_role); cells of
# notebooks that were not executed, whose language is not known then.
suppress_warnings = ["ref.python", "myst-nb.lexer"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_custom_sections = [("Attributes", "params_style")]

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 4
myst_links_external_new_tab = False
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 300
nb_execution_raise_on_error = True
# What a command prints is one output; MyST-NB's own merging would break lines where the parts meet.
NotebookClient.coalesce_streams = True
nb_output_stderr = "remove"  # progress
