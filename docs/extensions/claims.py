"""Pages of the committed results: the table of claims, and each experiment's report with its figures."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from sphinx.application import Sphinx

from cnnlab.lab.report.claims import claims_markdown

INTRODUCTION = """# Claims

What the papers say and what was measured here. Each link leads to the report, with all variants, their
cost and the figures. [](../concepts.md) says what a verdict means.

"""


def write_pages(app: Sphinx) -> None:
  """Writes `claims/` from `experiments/*/results`."""
  source = Path(app.srcdir)
  experiments = source.parent / "experiments"
  folder = source / "claims"
  shutil.rmtree(folder, ignore_errors=True)
  names = sorted(report.parents[1].name for report in experiments.glob("*/results/report.md"))
  for name in names:
    shutil.copytree(
      experiments / name / "results",
      folder / name,
      ignore=shutil.ignore_patterns("*.html", "*.svg", "*.gz"),
    )
  table = re.sub(
    r"\]\([^)]*?(\w+)/results/report\.md\)", r"](\1/report.md)", claims_markdown(str(experiments))
  )
  listed = "\n".join(f"{name}/report" for name in names)
  toctree = f"\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n"
  (folder / "index.md").write_text(INTRODUCTION + table + toctree, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
  """Connects the writer."""
  app.connect("builder-inited", write_pages)
  return {"parallel_read_safe": True}
