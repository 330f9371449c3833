"""The documentation site builds without a warning; `make docs` also executes its tutorials."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_the_site_builds_without_a_warning(project, tmp_path):
  options = ("--fail-on-warning", "--keep-going", "--quiet", "-D", "nb_execution_mode=off")
  done = subprocess.run(
    (sys.executable, "-m", "sphinx", *options, project / "docs", tmp_path),
    capture_output=True, text=True, check=False,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  for page in ("index", "tutorials/your_images", "claims/depth/report", "reference/cnnlab.lab"):
    assert (tmp_path / f"{page}.html").is_file()
