"""One damaged run: it is told of, nothing is lost silently, and the runs beside it are not harmed."""

import errno
import json
import os
import pathlib

import pytest

from cnnlab.errors import RunError
from cnnlab.runs import load
from cnnlab.runs.checksums import checksums, verify
from cnnlab.runs.directory import RunDirectory
from cnnlab.runs.table import runs_table
from tests.runs.synthetic import write_run


def folder(path):
  path.unlink()
  path.mkdir()


def loop(path):
  path.unlink()
  path.symlink_to(path.name)


DAMAGES = {
  **{
    text: lambda path, text=text: path.write_bytes(text)
    for text in (b"", b"[]", b"null", b'"x"', b"{}", b"\xff\xfe", b"[" * 100_000)
  },
  "a folder": folder,
  "a loop": loop,
}


@pytest.mark.parametrize("name", ["status.json", "config.json"])
@pytest.mark.parametrize("how", list(DAMAGES), ids=str)
def test_a_damaged_run_hides_no_other(tmp_path, name, how):
  if (name, how) == ("config.json", b"{}"):
    pytest.skip("an empty config is a config")
  write_run(tmp_path / "good")
  DAMAGES[how](write_run(tmp_path / "bad") / name)
  table = runs_table(tmp_path)
  assert table["status"].to_list() == ["damaged", "done"]
  assert str(tmp_path / "bad" / name) in table["reason"][0]
  with pytest.raises(RunError, match=name):
    getattr(load(tmp_path / "bad"), name.removesuffix(".json"))


def test_a_run_that_must_not_be_read_hides_no_other(tmp_path, monkeypatch):
  write_run(tmp_path / "good")
  denied = write_run(tmp_path / "bad") / "status.json"
  read = pathlib.Path.read_text

  def refuse(self, *arguments, **options):
    if self == denied:
      raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))
    return read(self, *arguments, **options)

  monkeypatch.setattr(pathlib.Path, "read_text", refuse)
  table = runs_table(tmp_path)
  assert table["status"].to_list() == ["damaged", "done"]
  assert "Permission denied" in table["reason"][0]


@pytest.fixture
def written(tmp_path):
  """A finished run with three rows."""
  run = RunDirectory(tmp_path / "run", {"seed": 0})
  for step in (1, 2, 3):
    run.append("metrics", {"step": step, "eval/error": step / 8})
    run.append("timing", {"step": step, "seconds": float(step)})
  run.set_status("done", metrics={"step": 3})
  run.close()
  return run.path


@pytest.mark.parametrize(
  ("damage", "told"),
  [
    (lambda text: "", "3 of the 3 rows up to step 3 are missing"),
    (lambda text: text[:-5], "1 of the 3 rows up to step 3 are missing"),
    (lambda text: text.replace("0.25", "0.35"), "are not as they were written"),
  ],
)
def test_rows_that_are_lost_or_changed_are_told_of(written, damage, told, caplog):
  assert runs_table(written)["status"].to_list() == ["done"]
  path = written / "metrics.jsonl"
  path.write_text(damage(path.read_text()))
  table = runs_table(written)
  assert table["status"].to_list() == ["damaged"]
  assert told in table["reason"][0]
  _ = load(written).metrics
  assert told in caplog.text


def test_whoever_resumes_hears_of_lost_rows_and_finds_the_damaged_file(written, caplog):
  logged = json.loads((written / "status.json").read_text())["logged"]
  damaged = "garbage\n" + (written / "metrics.jsonl").read_text().partition("\n")[2]
  (written / "metrics.jsonl").write_text(damaged)
  run = RunDirectory(written, {"seed": 0})
  run.keep_until(3, logged)
  run.close()
  assert "1 of the 3 rows up to step 3 are missing" in caplog.text
  assert [json.loads(line)["step"] for line in (written / "metrics.jsonl").open()] == [2, 3]
  assert (written / "metrics.jsonl.damaged").read_text() == damaged


def test_whoever_reads_while_rows_are_dropped_misses_none(written):
  run = RunDirectory(written, {"seed": 0})
  run.keep_until(1, None)
  run.close()
  assert json.loads((written / "status.json").read_text())["logged"]["metrics"]["rows"] == 1
  assert runs_table(written)["status"].to_list() == ["done"]


def test_checksums_must_be_those_of_all_arrays_and_of_no_others():
  arrays = {"a": [1.0], "b": [2.0]}
  sums = checksums(arrays)
  verify(arrays, sums)
  for wrong in ({}, {"a/0": sums["a/0"]}, sums | {"c/0": "00000000"}):
    with pytest.raises(RunError, match=r"one lacks"):
      verify(arrays, wrong)
  with pytest.raises(RunError, match="mismatch in b/0"):
    verify(arrays, sums | {"b/0": "00000000"})


@pytest.mark.parametrize(
  "place", ["file", "file/run", "n" * 300, "new/" + "n" * 300, "a\0b", "loop", "\udcff"]
)
def test_where_no_directory_can_be_made_nothing_is_written(tmp_path, place):
  (tmp_path / "file").touch()
  (tmp_path / "loop").symlink_to("loop")
  with pytest.raises(RunError):
    RunDirectory(tmp_path / place, {"seed": 0})
  assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "loop"]
