"""Docstrings write code in single backticks: a name of cnnlab becomes a link, anything else code."""

from __future__ import annotations

import pkgutil
import re

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

log = logging.getLogger(__name__)


class CodeOrLink(SphinxRole):
  """The role of single backticks."""

  def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Returns a link for `cnnlab.x.y` (a name that does not exist is a warning), else code."""
    code = nodes.literal(self.text, self.text, classes=["py"])
    if not re.fullmatch(r"cnnlab(\.\w+)+", self.text):
      return [code], []
    link = pending_xref(
      "", code, refdomain="py", reftype="obj", reftarget=self.text, refexplicit=True, refwarn=False
    )
    self.set_source_info(link)
    return [link], []


def find(
  app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Element
) -> nodes.Element | None:
  """Returns a link to a name by the module that defines it; warns of a name that does not exist."""
  target = node.get("reftarget", "")
  if not target.startswith("cnnlab.") or node.get("reftype") != "obj":
    return None
  try:
    found = pkgutil.resolve_name(target)
  except (ImportError, AttributeError):
    log.warning("no such name: %s", target, location=node)
    return None
  home = f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"
  if home == target:
    return content
  python = env.domains.python_domain
  builder = app.builder
  return python.resolve_xref(env, node["refdoc"], builder, "obj", home, node, content) or content


def setup(app: Sphinx) -> dict[str, bool]:
  """Registers the role."""
  app.add_role("code_or_link", CodeOrLink())
  app.connect("missing-reference", find)
  return {"parallel_read_safe": True}
