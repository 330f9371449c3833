"""Every file and folder of a run directory, damaged in every way; then everything that reads it."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.drill import trained
from tests.drill.cases import Bad, Case, Result, command, files_below, judge

# One of each kind of file; a pattern means the largest file, and NEWEST the newest checkpoint.
FILES = (
  "config.json",
  "environment.json",
  "status.json",
  "metrics.jsonl",
  "timing.jsonl",
  ".lease.*",
  "tensorboard/*",
  "checkpoints/NEWEST/_CHECKPOINT_METADATA",
  "checkpoints/NEWEST/commit_success.txt",
  "checkpoints/NEWEST/about/metadata",
  "checkpoints/NEWEST/about/commit_success.txt",
  "checkpoints/NEWEST/preprocess/_METADATA",
  "checkpoints/NEWEST/preprocess/ocdbt.process_0/d/*",
  "checkpoints/NEWEST/state/_METADATA",
  "checkpoints/NEWEST/state/_sharding",
  "checkpoints/NEWEST/state/array_metadatas/process_0",
  "checkpoints/NEWEST/state/manifest.ocdbt",
  "checkpoints/NEWEST/state/d/*",
  "checkpoints/NEWEST/state/ocdbt.process_0/manifest.ocdbt",
  "checkpoints/NEWEST/state/ocdbt.process_0/d/*",
)
FOLDERS = (
  "checkpoints",
  "checkpoints/NEWEST",
  "checkpoints/NEWEST/about",
  "checkpoints/NEWEST/preprocess",
  "checkpoints/NEWEST/state",
  "tensorboard",
  ".",
)


def _replace(content: bytes) -> Callable[[Path], None]:
  def damage(path: Path) -> None:
    _remove(path)
    path.write_bytes(content)

  return damage


def _truncate(path: Path) -> None:
  path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(path: Path) -> None:
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(bytes(content))


def _remove(path: Path) -> None:
  shutil.rmtree(path) if path.is_dir() else path.unlink()


def _make_folder(path: Path) -> None:
  _remove(path)
  path.mkdir()


def _make_loop(path: Path) -> None:
  _remove(path)
  path.symlink_to(path.name)


TIMEOUT = 300.0  # the first case of a worker trains the runs that are damaged
DAMAGES: dict[str, Callable[[Path], None]] = {
  "missing": _remove,
  "empty": _replace(b""),
  "truncated": _truncate,
  "a bit flipped": _flip,
  "garbage": _replace(bytes(range(256)) * 4),
  "[]": _replace(b"[]\n"),
  "null": _replace(b"null\n"),
  '"x"': _replace(b'"x"\n'),
  "1": _replace(b"1\n"),
  "{}": _replace(b"{}\n"),
  "nested": _replace(b"[" * 100_000),
  "not UTF-8": _replace(b'{"status": "d\xf6ne"}\n'),
  "a folder": _make_folder,
  "a symlink loop": _make_loop,
}
OF_BINARIES = (*list(DAMAGES)[:5], "a folder", "a symlink loop")
OF_FOLDERS = ("missing", "empty", "a folder", "a symlink loop")  # 'empty' makes it a file


def cases() -> list[Case]:
  """Returns every file of a run x every damage, and the places in which no run can be made."""
  places = [
    (name, how)
    for name in FILES
    for how in (DAMAGES if "json" in name or name.endswith("about/metadata") else OF_BINARIES)
  ]
  places += [
    (name, how) for name in FOLDERS for how in OF_FOLDERS if (name, how) != (".", "missing")
  ]
  damaged = [
    Case(f"run directory: {how}", f"{when} run, {name}", check, (name, how), timeout=TIMEOUT)
    for name, how in places
    for when, check in (("finished", _read), ("half-trained", _resume))
  ]
  unusable = [Case("run directory: unusable place", name, _place, (name,)) for name in PLACES]
  return damaged + unusable


def _damaged(directory: Path, source: Path, name: str, how: str) -> Path:
  """Returns a damaged copy of a run, which lies beside a whole one."""
  trained.copy(trained.whole(), directory / "tree" / "good")
  run = trained.copy(source, directory / "tree" / "bad")
  steps = [int(path.name) for path in (run / "checkpoints").iterdir() if path.name.isdigit()]
  pattern = name.replace("NEWEST", str(max(steps)))
  found = [run] if name == "." else sorted(run.glob(pattern), key=lambda path: path.stat().st_size)
  DAMAGES[how](found[-1])
  return run


def _read(directory: Path, name: str, how: str) -> str:
  """Reads a finished run in all ways: the same results, a warning, or a refusal."""
  run = _damaged(directory, trained.whole(), name, how)
  before = files_below(directory)
  _check_runs(directory / "tree")
  ends = [_results(run), _same_or_warned(_evaluate(run), _evaluate(trained.whole()))]
  ends.append(_same_or_warned(_predict(run, directory), _predict(trained.whole(), directory)))
  if files_below(directory / "tree") != {
    name.removeprefix("tree/"): content
    for name, content in before.items()
    if name.startswith("tree/")
  }:
    raise Bad("wrote", "reading has changed the run")
  ends.append(judge(trained.train(run)))
  return "refused" if "refused" in ends else "success"


def _resume(directory: Path, name: str, how: str) -> str:
  """Resumes a half-trained run: the undisturbed end, a warning that names the loss, or a refusal."""
  run = _damaged(directory, trained.half(), name, how)
  _check_runs(directory / "tree")
  before = files_below(run)
  result = trained.train(run)
  end = judge(result, may_succeed=True)
  if end == "refused":
    kept = {"status.json"} | {path for path in before if path.startswith(".lease")}
    gone = [path for path in before if path not in kept and files_below(run).get(path) is None]
    if gone:
      raise Bad("lost", f"a refused run lost {gone}")
    return end
  try:
    trained.assert_same(run)
  except Bad:
    told = [line for line in result.err.splitlines() if "WARNING" in line]
    if not any(name.partition("/")[0].rstrip("s.*") in line for line in told):
      raise
  return end


def _check_runs(tree: Path) -> None:
  result = command("runs", str(tree), "--csv")
  judge(result)
  if result.code or "good,done" not in result.out:
    raise Bad("lost", f"`runs` does not show the run beside it: {result.out} {result.err}")


def _evaluate(run: Path) -> Result:
  return command("eval", f"--workdir={run}")


def _predict(run: Path, directory: Path) -> Result:
  from PIL import Image

  image = directory / "image.png"
  if not image.exists():
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(image)
  return command("predict", f"--workdir={run}", str(image))


def _same_or_warned(result: Result, expected: Result) -> str:
  end = judge(result)
  if end == "success" and result.out != expected.out and "damaged" not in result.err:
    raise Bad("lost", f"{result.command[0]} gives {result.out}\nnot {expected.out}\n{result.err}")
  return end


def _results(run: Path) -> str:
  """Reads a run from Python; returns 'success' or 'refused'."""
  from cnnlab.errors import RunError
  from cnnlab.runs import load

  warnings: list[str] = []
  handler = logging.Handler()
  handler.emit = lambda record: warnings.append(record.getMessage())  # type: ignore[method-assign]
  logging.getLogger("cnnlab").addHandler(handler)
  try:
    return _compared(load(run), load(trained.whole()), warnings)
  except RunError as error:
    return "refused" if str(run) in str(error) else _unclear(error)
  except Bad:
    raise
  except Exception as error:
    raise Bad("traceback", f"load({run.name}): {type(error).__name__}: {error}") from error
  finally:
    logging.getLogger("cnnlab").removeHandler(handler)


def _unclear(error: Exception) -> str:
  raise Bad("unclear", f"does not name the run: {error}")


def _compared(got: object, want: object, warnings: list[str]) -> str:
  refused = False
  for name in ("config", "status", "environment", "metrics", "timing", "variables"):
    try:
      mine = getattr(got, name)
    except Exception as error:
      from cnnlab.errors import RunError

      if not isinstance(error, RunError):
        raise
      refused = True
      continue
    theirs = getattr(want, name)
    if name in ("metrics", "variables") and not _equal(mine, theirs) and not warnings:
      raise Bad("lost", f"load(...).{name} differs without a word")
  return "refused" if refused else "success"


def _equal(a: object, b: object) -> bool:
  import jax

  if hasattr(a, "equals"):
    return a.equals(b)
  return all(
    np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  )


PLACES = (
  "file/run",
  "a file",
  "name of 255",
  "name of 300",
  "path of 5000",
  "/dev/null/x",
  "loop",
  "loop/run",
  "/proc/run",
  "nul\0byte",
  "not empty",
  "dangling",
  "surrogate\udcff",
)


def _place(directory: Path, name: str) -> str:
  (directory / "file").touch()
  (directory / "loop").symlink_to("loop")
  (directory / "dangling").symlink_to("nowhere/at/all")
  (directory / "not empty").mkdir()
  (directory / "not empty" / "thesis.txt").write_text("years of work")
  before = files_below(directory)
  given = {
    "a file": "file",
    "name of 255": "n" * 255,
    "name of 300": "n" * 300,
    "path of 5000": "/".join(["d" * 100] * 50),
  }.get(name, name)
  where = given if given.startswith("/") else f"{directory}/{given}"
  end = judge(command(*trained.ARGUMENTS, f"--workdir={where}", "--config.max_steps=2"))
  if end == "refused" and files_below(directory) != before:
    raise Bad("wrote", f"a refused run left {sorted(set(files_below(directory)) - set(before))}")
  return end
