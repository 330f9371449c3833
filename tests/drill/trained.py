"""A tiny run to damage and to disturb: how to train it, its directory at the end and half-way."""

from __future__ import annotations

import functools
import json
import os
import shutil
import signal
from pathlib import Path

import numpy as np

from tests.drill.cases import Bad, Result, command, kept_directory

ARGUMENTS = (
  "train",
  "--config=configs/digits.py:tiny",
  "--config.max_steps=6",
  "--config.eval_every_epochs=0.07",  # every second step
  "--config.checkpoint_every_steps=2",
  "--config.schedule.name=plateau",
)
STEPS = 6


def train(directory: Path) -> Result:
  """Trains the run, or resumes it."""
  return command(*ARGUMENTS, f"--workdir={directory}")


@functools.cache
def whole() -> Path:
  """Returns the directory of the run that nothing disturbed; made once per process."""
  return _made(kept_directory("trained") / "whole")


@functools.cache
def half() -> Path:
  """Returns the directory of the run, interrupted half-way; made once per process."""
  from cnnlab.config import apply_overrides, load_page, parse_overrides
  from cnnlab.train import Interrupted
  from cnnlab.train import train as train_in_process

  page = load_page(ARGUMENTS[1].removeprefix("--config="))
  config = apply_overrides(page, parse_overrides(list(ARGUMENTS[2:]), page))

  def interrupt(step: int, total: int) -> None:
    if step == STEPS // 2:
      os.kill(os.getpid(), signal.SIGINT)

  directory = kept_directory("trained") / "half"
  try:
    train_in_process(config, directory, progress=interrupt)
  except Interrupted:
    return directory
  raise RuntimeError("the run was not interrupted")


def copy(directory: Path, to: Path) -> Path:
  """Returns a copy of a run directory."""
  return Path(shutil.copytree(directory, to, symlinks=True))


def assert_same(directory: Path) -> None:
  """Checks that a run ended bit for bit like the one that nothing disturbed.

  Raises:
    Bad: its parameters or rows differ.
  """
  import jax

  from cnnlab.runs import checkpoint

  got, want = checkpoint.restore(directory), checkpoint.restore(whole())
  if got["step"] != want["step"]:
    raise Bad("lost", f"the newest checkpoint is of step {got['step']}, not {want['step']}")
  for (path, a), (_, b) in zip(
    jax.tree.leaves_with_path(got["state"]), jax.tree.leaves_with_path(want["state"]), strict=True
  ):
    if not np.array_equal(a, b):
      raise Bad("lost", f"{jax.tree_util.keystr(path)} differs from the undisturbed run's")
  rows, expected = ((d / "metrics.jsonl").read_text() for d in (directory, whole()))
  if rows != expected:
    raise Bad("lost", f"metrics.jsonl differs:\n{rows}\nundisturbed:\n{expected}")
  if (timed := (directory / "timing.jsonl").read_text().count("\n")) != STEPS:
    raise Bad("lost", f"timing.jsonl has {timed} rows, not {STEPS}")
  status = json.loads((directory / "status.json").read_text())
  if status["status"] != "done":
    raise Bad("lost", f"the status of the finished run is {status['status']!r}")


def _made(directory: Path) -> Path:
  result = train(directory)
  if result.code:
    raise RuntimeError(result.trace or result.err)
  return directory
