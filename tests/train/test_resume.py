"""A run can die anywhere: N steps equal k steps, a kill, a resume and N-k steps, bit for bit."""

import json
import random
import signal
import time

import jax
import numpy as np
import pytest

from cnnlab.runs import checkpoint
from tests.train.conftest import start

# Enough parameters that writing a checkpoint takes a moment in which to kill; log, evaluation and
# checkpoint steps that do not coincide; dropout, averaging and plateau, so that all state counts.
ARGUMENTS = (
  "--config.max_steps=60",
  "--config.log_every_steps=7",
  "--config.eval_every_epochs=0.5",
  "--config.checkpoint_every_epochs=0.0",
  "--config.checkpoint_every_steps=5",
  "--config.model.hidden=(1500,)",
  "--config.model.dropout=0.3",
  "--config.ema_decay=0.9",
  "--config.schedule.name=plateau",
  "--config.schedule.patience=1",
)
SECONDS = 120


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("whole") / "run"
  process = start(workdir, *ARGUMENTS)
  output, _ = process.communicate(timeout=SECONDS)
  assert process.returncode == 0, output
  return workdir


def wait_until(process, condition):
  """Waits until the condition holds; fails where the process ends or the time is up before."""
  deadline = time.monotonic() + SECONDS
  while not condition():
    assert process.poll() is None, process.communicate()[0]
    assert time.monotonic() < deadline
    time.sleep(0.002)


def rows(workdir):
  path = workdir / "metrics.jsonl"
  return path.read_text().count("\n") if path.exists() else 0


def is_saving(workdir):
  """Returns whether a checkpoint is begun and not finished."""
  from orbax.checkpoint.utils import is_checkpoint_finalized

  folder = workdir / "checkpoints"
  begun = [p for p in folder.glob("*") if p.is_dir()] if folder.is_dir() else []
  return any("tmp" in p.name or not is_checkpoint_finalized(p) for p in begun)


def finish(workdir):
  process = start(workdir, *ARGUMENTS)
  output, _ = process.communicate(timeout=SECONDS)
  assert process.returncode == 0, output


def assert_same(workdir, reference):
  got, want = checkpoint.restore(workdir), checkpoint.restore(reference)
  assert got["step"] == want["step"] == 60
  leaves, other = jax.tree.leaves_with_path(got["state"]), jax.tree.leaves_with_path(want["state"])
  assert [path for path, _ in leaves] == [path for path, _ in other]
  for (path, a), (_, b) in zip(leaves, other, strict=True):
    np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))
  assert (workdir / "metrics.jsonl").read_text() == (reference / "metrics.jsonl").read_text()


def test_kills_at_random_moments_leave_no_trace(uninterrupted, tmp_path):
  workdir = tmp_path / "run"
  moments = sorted(random.Random(time.time_ns()).sample(range(1, 12), 2))
  for moment in moments:
    process = start(workdir, *ARGUMENTS)
    wait_until(process, lambda moment=moment: rows(workdir) >= moment)
    process.kill()
    process.wait()
  print(f"killed when metrics.jsonl had {moments} rows")
  finish(workdir)
  assert_same(workdir, uninterrupted)


def test_a_kill_while_a_checkpoint_is_written_leaves_no_trace(uninterrupted, tmp_path):
  workdir = tmp_path / "run"
  process = start(workdir, *ARGUMENTS)
  wait_until(process, lambda: rows(workdir) >= 2 and is_saving(workdir))
  process.kill()
  process.wait()
  finish(workdir)
  assert_same(workdir, uninterrupted)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_says_so_and_the_same_command_goes_on(uninterrupted, tmp_path, signum):
  workdir = tmp_path / "run"
  process = start(workdir, *ARGUMENTS)
  wait_until(process, lambda: rows(workdir) >= 3)
  process.send_signal(signum)
  output, _ = process.communicate(timeout=SECONDS)
  assert process.returncode == 128 + signum, output
  assert "run the same command to resume" in output
  status = json.loads((workdir / "status.json").read_text())
  assert status["status"] == "interrupted"
  assert 0 < status["step"] < 60
  assert checkpoint.restore(workdir)["step"] == status["step"]
  finish(workdir)
  assert_same(workdir, uninterrupted)
  assert json.loads((workdir / "status.json").read_text())["status"] == "done"
