"""Recording why a run failed must not hide why it failed."""

import errno
import json
import os

import pytest

from cnnlab.runs import directory
from cnnlab.runs.directory import RunDirectory, record_failure
from cnnlab.runs.files import cannot_write


def full_disk(monkeypatch, failures):
  """Makes the next writes fail as on a full disk; returns the list of attempts."""
  attempts = []
  write = directory.write_json

  def failing(path, value):
    attempts.append(path)
    if len(attempts) <= failures:
      raise cannot_write(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    write(path, value)

  monkeypatch.setattr(directory, "write_json", failing)
  monkeypatch.setattr(directory, "_RETRY_PAUSES", (0.0, 0.0))
  return attempts


def test_space_is_freed_and_the_failure_recorded(tmp_path, monkeypatch):
  unfinished = tmp_path / "checkpoints" / "4.orbax-checkpoint-tmp-0"
  finished = tmp_path / "checkpoints" / "2"
  for folder in (unfinished, finished):
    folder.mkdir(parents=True)
  full_disk(monkeypatch, failures=1)
  record_failure(tmp_path, ValueError("no such layer"))
  status = json.loads((tmp_path / "status.json").read_text())
  assert (status["status"], status["reason"]) == ("failed", "ValueError: no such layer")
  assert finished.is_dir()
  assert not unfinished.exists()


def test_on_a_full_disk_the_status_takes_the_space_that_was_kept_for_it(tmp_path, monkeypatch):
  run = RunDirectory(tmp_path / "run", {"seed": 0})
  run.set_status("running")
  full_disk(monkeypatch, failures=9)
  record_failure(run.path, ValueError("no such layer" * 5000))
  status = json.loads((run.path / "status.json").read_text())
  assert status["status"] == "failed"
  assert not (run.path / ".reserve").exists()


def test_a_failure_that_cannot_be_recorded_is_a_warning(tmp_path, monkeypatch, caplog):
  run = RunDirectory(tmp_path / "run", {"seed": 0})
  run.set_status("running")
  (run.path / ".reserve").unlink()
  before = (run.path / "status.json").read_text()
  attempts = full_disk(monkeypatch, failures=9)

  def fail():
    try:
      raise ValueError("no such layer")
    except ValueError as error:
      record_failure(run.path, error)
      raise

  with pytest.raises(ValueError, match="no such layer"):
    fail()
  run.close()
  assert len(attempts) == 3
  assert "No space left on device" in caplog.text
  assert (run.path / "status.json").read_text() == before


def test_a_damaged_status_file_is_written_anew(tmp_path, caplog):
  (tmp_path / "status.json").write_text("[]")
  record_failure(tmp_path, ValueError("no such layer"))
  assert "holds a JSON array, not an object" in caplog.text
  assert json.loads((tmp_path / "status.json").read_text())["status"] == "failed"
