"""Damaged checkpoints, full disks, and which checkpoints are kept."""

import errno
import json
import logging
import os
import pathlib
import subprocess

import numpy as np
import pytest

from cnnlab.errors import RunError
from cnnlab.runs import checkpoint
from cnnlab.runs.checkpoint import Checkpoints
from cnnlab.train import train
from tests.train.conftest import tiny

ABOUT = {"config": {"seed": 0}, "step": 0}


def save_all(directory, metrics, **options):
  """Saves a small state once for each metric; returns the steps that are kept."""
  checkpoints = Checkpoints(directory, best=("eval/error", "min"), **options)
  for step, value in enumerate(metrics, 1):
    evaluation = {} if value is None else {"eval/error": value}
    state = {"w": np.full(3, step, np.float32), "step": np.int32(step)}
    checkpoints.save(
      step, state, ABOUT | {"metrics": evaluation}, {"mean": np.zeros(3, np.float32)}
    )
  checkpoints.wait()
  steps = checkpoints.steps()
  checkpoints.close()
  return steps


@pytest.mark.parametrize(
  ("metrics", "keep", "kept"),
  [
    ([0.5, 0.1, 0.3, 0.4, 0.2], 2, [2, 4, 5]),
    ([0.5, 0.4, 0.3], 1, [3]),
    ([0.5, 0.1, None, None], 1, [2, 4]),
    ([None, None, None], 1, [3]),
  ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, metrics, keep, kept):
  assert save_all(tmp_path, metrics, keep=keep) == kept


def largest_file(folder: pathlib.Path) -> pathlib.Path:
  files = [p for p in (folder / checkpoint.STATE).rglob("*") if p.is_file() and "/d/" in str(p)]
  return max(files, key=lambda p: p.stat().st_size)


def truncate(path):
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip_a_bit(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def delete(path):
  path.unlink()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("trained") / "run"
  train(tiny(max_steps=4, checkpoint_every_steps=2, checkpoint_keep=3), workdir)
  return workdir


@pytest.fixture
def unfinished(trained, tmp_path):
  """A copy of a run that has checkpoints of steps 2 and 4, and was to go on."""
  import shutil

  workdir = tmp_path / "run"
  shutil.copytree(trained, workdir)
  status = json.loads((workdir / "status.json").read_text()) | {"status": "interrupted"}
  (workdir / "status.json").write_text(json.dumps(status))
  return workdir


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, delete])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(unfinished, damage, caplog):
  config = tiny(max_steps=4, checkpoint_every_steps=2, checkpoint_keep=3)
  want = checkpoint.restore(unfinished)
  rows = (unfinished / "metrics.jsonl").read_text()
  damage(largest_file(unfinished / "checkpoints" / "4"))
  with caplog.at_level(logging.WARNING):
    assert checkpoint.restore(unfinished)["step"] == 2, "reading back falls back as well"
    steps = []
    train(config, unfinished, progress=lambda step, total: steps.append(step))
  assert "4 is damaged" in caplog.text
  assert steps == [3, 4], "it went on from step 2"
  assert (unfinished / "metrics.jsonl").read_text() == rows
  got = checkpoint.restore(unfinished)
  assert got["about"]["checksums"] == want["about"]["checksums"]


def test_lost_rows_are_told_of_and_change_nothing_else(unfinished, caplog):
  config = tiny(max_steps=4, checkpoint_every_steps=2, checkpoint_keep=3)
  rows = (unfinished / "metrics.jsonl").read_text().splitlines(keepends=True)
  (unfinished / "metrics.jsonl").write_text("")
  truncate(largest_file(unfinished / "checkpoints" / "4"))
  train(config, unfinished)
  assert "metrics.jsonl is damaged: 2 of the 2 rows up to step 2 are missing" in caplog.text
  assert (unfinished / "metrics.jsonl").read_text() == "".join(rows[2:])


def test_a_finished_run_without_its_last_checkpoint_is_told_of(trained, tmp_path, caplog):
  import shutil

  workdir = pathlib.Path(shutil.copytree(trained, tmp_path / "run"))
  shutil.rmtree(workdir / "checkpoints" / "4")
  assert checkpoint.restore(workdir)["step"] == 2
  assert "it ended at step 4, but its newest checkpoint is of step 2" in caplog.text


def test_without_any_good_checkpoint_the_run_stops_and_says_so(unfinished):
  for step in ("2", "4"):
    truncate(largest_file(unfinished / "checkpoints" / step))
  with pytest.raises(RunError, match=r"none of the checkpoints \[4, 2\] can be read"):
    train(tiny(max_steps=4, checkpoint_every_steps=2, checkpoint_keep=3), unfinished)
  assert (unfinished / "checkpoints" / "4").is_dir(), "nothing is thrown away"
  with pytest.raises(RunError, match="none of the checkpoints"):
    checkpoint.restore(unfinished)


def test_a_missing_checkpoint_says_where_it_looked(tmp_path):
  with pytest.raises(RunError, match="no checkpoint there"):
    checkpoint.restore(tmp_path)


@pytest.fixture
def small_disk(tmp_path):
  """A file system of 4 MiB."""
  folder = tmp_path / "disk"
  folder.mkdir()
  command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
  if subprocess.run(command, capture_output=True, check=False).returncode:
    pytest.skip("needs the right to mount a small file system")
  yield folder
  subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_stops_the_run_with_the_reason_and_keeps_older_checkpoints(small_disk):
  # A state of about 1.5 MB: two of the four checkpoints fit.
  config = tiny(max_steps=8, checkpoint_every_steps=2, checkpoint_keep=9, model__hidden=(7000,))
  workdir = small_disk / "run"
  with pytest.raises(RunError, match="No space left on device") as caught:
    train(config, workdir)
  good = checkpoint.restore(workdir)
  assert 2 <= good["step"] < 8
  assert (
    f"the older ones ({', '.join(str(s) for s in range(2, good['step'] + 1, 2))}) are intact"
    in str(caught.value)
  )
  status = json.loads((workdir / "status.json").read_text())
  assert status["status"] == "failed"
  assert "No space left on device" in status["reason"]
  # With room again, the same command goes on to the end.
  subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
  steps = []
  train(config, workdir, progress=lambda step, total: steps.append(step))
  assert steps[0] == good["step"] + 1
  assert checkpoint.restore(workdir)["step"] == 8


def test_a_full_disk_under_the_status_is_named_like_one_under_a_checkpoint(tmp_path, monkeypatch):
  from cnnlab.runs.directory import RunDirectory

  write = RunDirectory.set_status

  def fail_later(self, status, **fields):
    if fields.get("step", 0) > 4:
      raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    write(self, status, **fields)

  monkeypatch.setattr(RunDirectory, "set_status", fail_later)
  with pytest.raises(RunError, match=r"No space left on device.*\(2, 4\) are intact"):
    train(tiny(max_steps=8, checkpoint_every_steps=2, checkpoint_keep=9), tmp_path / "run")
