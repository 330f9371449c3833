"""An experiment's claims as its file has them now, for the report of a sweep made with earlier ones.

The question, claims, regime, paper's figures and note need no new runs when they are edited, so a
report takes them from the file. What the runs depend on always comes from experiment.json.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from cnnlab.errors import ConfigError
from cnnlab.lab.claim import Claim, Condition
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.files import load_experiment
from cnnlab.runs.directory import PLACES

_PACKAGE = Path(__file__).resolve().parents[2]


class Current(NamedTuple):
  """An experiment with the claims to report.

  Attributes:
    experiment: the saved one, with what was taken from its file.
    notes: sentences on what was edited after the sweep, or why the file was not used.
  """

  experiment: Experiment
  notes: tuple[str, ...] = ()


def current(saved: Experiment, sweep: Path) -> Current:
  """Returns a sweep's experiment with question, claims, regime, figures and note of its file.

  The file is the one that the sweep was made from, or `experiments/<name>/experiment.py`. It is not
  run if it lies in the sweep's directory, which may come from somebody else. The saved claims stay
  if seeds have been set aside to confirm them, or if the file's variants are others.

  Args:
    saved: of experiment.json.
    sweep: the sweep's directory.
  """
  file = _file(saved, sweep)
  if file is None:
    return Current(saved)
  try:
    found = load_experiment(str(file), saved.recipe)
  except ConfigError as error:
    return Current(saved, (f"The claims are the saved ones: {_one_line(error)}.",))
  if found.name != saved.name:
    return Current(saved)
  other = _disagreement(saved, found)
  if other:
    return Current(saved, (f"The claims are the saved ones: {file.name} has {other}.",))
  edits = _edits(saved, found)
  if saved.confirmed_by and edits:
    frozen = "The claims are the saved ones, frozen when seeds were set aside to confirm them"
    return Current(saved, (f"{frozen}; {file.name} has been edited since.",))
  merged = replace(
    saved,
    question=found.question,
    claims=found.claims,
    regime=found.regime,
    paper=found.paper,
    note=found.note,
  )
  return Current(merged, edits)


def _file(saved: Experiment, sweep: Path) -> Path | None:
  by_name = _PACKAGE / "experiments" / saved.name / "experiment.py"
  for file in (Path(saved.file) if saved.file else by_name, by_name):
    if file.is_file() and not file.resolve().is_relative_to(sweep.resolve()):
      return file
  return None


def _disagreement(saved: Experiment, found: Experiment) -> str:
  """Returns in what a file differs that the runs depend on; empty if in nothing.

  Overrides that only the sweep has may come from its command line.
  """
  before, after = saved.to_json(), found.to_json()
  if before["variants"] != after["variants"]:
    return "other variants"
  shared = {key: value for key, value in after["overrides"].items() if key not in PLACES}
  changed = [key for key, value in shared.items() if before["overrides"].get(key, ...) != value]
  if changed:
    return f"other overrides ({', '.join(changed)})"
  for name in ("base", "metric", "mode", "pairing"):
    if before[name] != after[name]:
      return f"another {name}"
  return ""


def _edits(saved: Experiment, found: Experiment) -> tuple[str, ...]:
  claims = _changes("claim", saved.claims, found.claims)
  regime = _changes("condition of the regime", saved.regime, found.regime)
  words = [*claims, *regime]
  if words:
    return (f"Edited after the sweep began: {'; '.join(words)}.",)
  if dict(saved.paper) != dict(found.paper):
    return ("The paper's figures were edited after the sweep began.",)
  return ()


def _changes(
  what: str, before: Sequence[Claim | Condition], after: Sequence[Claim | Condition]
) -> list[str]:
  old, new = {x.text for x in before}, {x.text for x in after}
  words = [f"{what} added: {text!r}" for text in (x.text for x in after) if text not in old]
  words += [f"{what} removed: {text!r}" for text in (x.text for x in before) if text not in new]
  same = {x.text: x for x in before}
  words += [f"{what} changed: {x.text!r}" for x in after if x.text in same and same[x.text] != x]
  return words


def _one_line(error: Exception) -> str:
  return " ".join(str(error).split())
