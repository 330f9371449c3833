import textwrap
from dataclasses import replace

import pytest

from cnnlab.lab import Claim, Condition
from cnnlab.lab.directory import save_experiment
from cnnlab.lab.files import load_experiment
from cnnlab.lab.report.edited import current
from cnnlab.lab.report.write import write_report

FILE = """
from cnnlab.lab import Claim, Condition, Experiment

def get_experiment(recipe=""):
  return Experiment(
    name="mine", question={question!r}, config="configs/digits.py", base="a", recipe=recipe,
    variants={variants}, claims=({claims},), regime=({regime}), overrides={overrides},
  )
"""
FIELDS = {
  "question": "Old?",
  "variants": {"a": {}, "b": {"optim.learning_rate": 0.2}},
  "claims": "Claim('first', 'a', '<', 'b', '-')",
  "regime": "",
  "overrides": {},
}


@pytest.fixture
def place(tmp_path):
  """An experiment's file, and the directory of a sweep that was made from it."""
  file = tmp_path / "mine" / "experiment.py"
  file.parent.mkdir()
  write(file)
  saved = load_experiment(str(file))
  sweep = tmp_path / "runs" / "mine"
  save_experiment(sweep, saved)
  return file, saved, sweep


def write(file, **changes):
  file.write_text(textwrap.dedent(FILE.format(**FIELDS | changes)))


def test_without_an_edit_nothing_is_said(place):
  _, saved, sweep = place
  found = current(saved, sweep)
  assert found.experiment.claims == saved.claims
  assert found.notes == ()


def test_edited_claims_question_and_regime_are_used_and_named(place):
  file, saved, sweep = place
  claims = "Claim('first', 'a', '<', 'b', '-', margin=0.1), Claim('second', 'b', '<', 'a', '-')"
  write(file, question="New?", claims=claims, regime="Condition('fits', 'train/loss', '<=', 1.0),")
  found = current(saved, sweep)
  assert found.experiment.question == "New?"
  assert [claim.margin for claim in found.experiment.claims] == [0.1, 0.0]
  assert found.experiment.regime == (Condition("fits", "train/loss", "<=", 1.0),)
  assert found.notes == (
    "Edited after the sweep began: claim added: 'second'; claim changed: 'first'; condition of the "
    "regime added: 'fits'.",
  )
  report = write_report(sweep)
  assert len(report.verdicts) == 2
  assert "Edited after the sweep began" in report.html.read_text()
  assert "Edited after the sweep began" in report.markdown.read_text()
  assert len(write_report(sweep, as_saved=True).verdicts) == 1


def test_saved_claims_stay_where_the_runs_are_others(place):
  file, saved, sweep = place
  for changes, what in (
    ({"variants": {"a": {}, "b": {}}}, "other variants"),
    ({"overrides": {"epochs": 9.0}}, "other overrides (epochs)"),
  ):
    write(file, question="New?", **changes)
    found = current(saved, sweep)
    assert found.experiment.question == "Old?"
    assert what in found.notes[0]


def test_overrides_of_the_command_line_do_not_hide_an_edit(place):
  file, saved, sweep = place
  write(file, question="New?")
  longer = replace(saved, overrides={"epochs": 3.0, "data.dir": "/elsewhere"})
  assert current(longer, sweep).experiment.question == "New?"


def test_frozen_claims_stay(place):
  file, saved, sweep = place
  write(file, claims="Claim('other', 'b', '<', 'a', '-')")
  found = current(replace(saved, confirmed_by=(100,)), sweep)
  assert found.experiment.claims == saved.claims == (Claim("first", "a", "<", "b", "-"),)
  assert "frozen" in found.notes[0]


def test_a_file_that_cannot_be_read_is_no_obstacle(place):
  file, saved, sweep = place
  file.write_text("import nothing_of_that_name")
  found = current(saved, sweep)
  assert found.experiment == saved
  assert "nothing_of_that_name" in found.notes[0]
  file.unlink()
  assert current(saved, sweep) == (saved, ())


def test_a_file_in_the_sweeps_directory_is_not_run(place):
  _, saved, sweep = place
  inside = sweep / "experiment.py"
  inside.write_text("raise SystemExit('it was run')")
  assert current(replace(saved, file=str(inside)), sweep).notes == ()
