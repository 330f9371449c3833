"""Runs trained as one compiled program give what each gives alone, in directories of their own."""

import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from cnnlab.errors import ConfigError, DivergedError
from cnnlab.runs import checkpoint
from cnnlab.train import Interrupted, together, train
from cnnlab.train.together import Run, train_together
from tests.train.conftest import tiny

STEPS = 8
RUNS = ((0, 0.05), (1, 0.05), (2, 0.1))  # seed, learning rate


def config(seed, rate, **overrides):
  """A net with batch statistics and dropout; logs, evaluations and checkpoints at their own steps."""
  return tiny(
    seed=seed,
    optim__learning_rate=rate,
    max_steps=STEPS,
    log_every_steps=3,
    eval_every_epochs=0.2,
    checkpoint_every_epochs=0.0,
    checkpoint_every_steps=2,
    model__features=(4,),
    model__norm="batch",
    model__dropout=0.3,
    ema_decay=0.9,
    schedule__name="plateau",
    schedule__patience=1,
    **overrides,
  )


def group(root, *runs, **overrides):
  return [Run(config(*run, **overrides), root / f"run{i}") for i, run in enumerate(runs)]


def status(run):
  return json.loads((run.directory / "status.json").read_text())


def rows(directory, name="metrics"):
  return [json.loads(line) for line in (directory / f"{name}.jsonl").read_text().splitlines()]


def files(directory):
  found = (p.relative_to(directory) for p in directory.rglob("*") if p.is_file())
  return {p.parts[0] for p in found if not p.name.startswith(".lease")}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
  """The runs trained alone, uninterrupted."""
  runs = group(tmp_path_factory.mktemp("alone"), *RUNS)
  for run in runs:
    train(run.config, run.directory)
  return runs


@pytest.fixture(scope="module")
def grouped(tmp_path_factory):
  """The same runs trained together: interrupted, then resumed with the first one a step behind."""
  runs = group(tmp_path_factory.mktemp("together"), *RUNS)

  def interrupt(step, total):
    if step == 5:
      os.kill(os.getpid(), signal.SIGINT)

  stopped = train_together(runs, interrupt)
  assert [type(error) for error in stopped] == [Interrupted] * 3
  assert [(status(run)["status"], status(run)["step"]) for run in runs] == [("interrupted", 5)] * 3
  shutil.rmtree(runs[0].directory / "checkpoints" / "5")  # as if killed while it was written
  steps = []
  assert train_together(runs, lambda step, total: steps.append(step)) == [None] * 3
  assert steps == [5, 6, 7, 8]
  return runs


def test_metrics_and_checkpoints_equal_those_of_the_runs_alone(alone, grouped):
  for one, other in zip(grouped, alone, strict=True):
    got, want = rows(one.directory), rows(other.directory)
    assert [row["step"] for row in got] == [3, 4, 6, 8]
    for a, b in zip(got, want, strict=True):
      assert a == pytest.approx(b, rel=1e-4, abs=1e-5)
    got, want = checkpoint.restore(one.directory), checkpoint.restore(other.directory)
    assert got["step"] == want["step"] == STEPS
    assert "batch_stats" in got["state"]["model_state"]
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5),
      got["state"],
      want["state"],
    )
  final = [rows(run.directory)[-1]["train/loss"] for run in grouped]
  assert len(set(final)) == 3


def test_directories_look_as_if_the_runs_were_alone(alone, grouped):
  for one, other in zip(grouped, alone, strict=True):
    assert files(one.directory) == files(other.directory)
    assert (one.directory / "config.json").read_text() == (
      other.directory / "config.json"
    ).read_text()
    assert status(one).keys() == status(other).keys()
    assert (status(one)["status"], status(one)["step"]) == ("done", STEPS)
    assert [row["step"] for row in rows(one.directory, "timing")] == [3, 4, 6, 8]
    assert checkpoint.read_about(one.directory)["config"]["seed"] == one.config.seed


def test_finished_runs_are_not_trained_again(grouped):
  before = {p: p.stat().st_mtime_ns for p in grouped[0].directory.glob("*.json*")}
  assert train_together(grouped) == [None] * 3
  assert {p: p.stat().st_mtime_ns for p in grouped[0].directory.glob("*.json*")} == before


def test_a_run_that_diverges_or_cannot_start_ends_alone(alone, tmp_path):
  runs = group(tmp_path, (0, 0.05), (1, 1e9), (1, 0.05), (7, -1.0), steps_per_call=2)
  first, diverged, third, refused = train_together(runs)
  assert first is third is None
  assert isinstance(diverged, DivergedError)
  assert "at step 3 the training loss" in status(runs[1])["reason"]
  assert status(runs[1])["status"] == "diverged"
  assert isinstance(refused, ConfigError)
  assert not runs[3].directory.exists()
  for index, reference in ((0, alone[0]), (2, alone[1])):
    assert status(runs[index])["status"] == "done"
    assert rows(runs[index].directory)[-1] == pytest.approx(
      rows(reference.directory)[-1], rel=1e-4, abs=1e-5
    )


def test_runs_with_statistics_per_device_are_trained_one_after_the_other(tmp_path, monkeypatch):
  trained = []
  monkeypatch.setattr(together, "train", lambda config, directory, **_: trained.append(directory))
  runs = group(tmp_path, *RUNS, parallel="pmap")
  assert train_together(runs) == [None] * 3
  assert trained == [run.directory for run in runs]
