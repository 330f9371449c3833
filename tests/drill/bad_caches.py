"""Caches that are damaged, in the way, or not the user's own; and what killed runs leave behind."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.drill.bad_folders import DAMAGE, TINY, make
from tests.drill.cases import PROJECT, Bad, Case, Result, command, judge, kept_directory, process

OTHER_USER = 12_345


def cases() -> list[Case]:
  """Returns the cases."""
  return [
    *(Case("data: caches of others", name, _place, (name,), 120) for name in PLACES),
    *(Case("data: damaged caches", name, _damaged, (name,), 400) for name in DAMAGED),
    *(Case("data: kill -9 while streaming", signal_name, _killed, (signal_name,), 120)
      for signal_name in ("SIGKILL", "SIGTERM", "SIGKILL of a worker")),
  ]  # fmt: skip


# --- Whose folder it is: (how it is made, whether it may be used). ---


def _mode(mode: int, owner: int = 0) -> Callable[[Path], None]:
  def change(cache: Path) -> None:
    cache.mkdir()
    cache.chmod(mode)
    os.chown(cache, owner, owner)

  return change


def _below(mode: int, owner: int = 0) -> Callable[[Path], None]:
  """The folder itself is private, but one inside of it is not."""

  def change(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    for name in ("native", "xla", "decoded"):
      _mode(mode, owner)(cache / name)

  return change


def _above(mode: int, owner: int = 0) -> Callable[[Path], None]:
  """Whoever can write the folder above can put another one in its place."""

  def change(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    os.chown(cache.parent, owner, owner)
    cache.parent.chmod(mode)

  return change


def _linked(mode: int) -> Callable[[Path], None]:
  def change(cache: Path) -> None:
    _mode(mode)(cache.parent / "real")
    cache.symlink_to(cache.parent / "real")

  return change


PLACES: dict[str, tuple[Callable[[Path], None], bool]] = {
  "private": (_mode(0o700), True),
  "readable by all": (_mode(0o755), True),
  "below a sticky folder": (_above(0o1777), True),
  "a link to a private one": (_linked(0o700), True),
  "writable by all": (_mode(0o777), False),
  "writable by its group": (_mode(0o770), False),
  "sticky and writable by all": (_mode(0o1777), False),
  "another user's": (_mode(0o755, OTHER_USER), False),
  "another user's, private": (_mode(0o700, OTHER_USER), False),
  "a link to one writable by all": (_linked(0o777), False),
  "parts writable by all": (_below(0o777), False),
  "another user's parts": (_below(0o755, OTHER_USER), False),
  "below one writable by all": (_above(0o777), False),
  # Another folder that its owner put there would be that owner's, and refused.
  "below another user's": (_above(0o755, OTHER_USER), True),
}


def _place(directory: Path, name: str) -> str:
  change, fine = PLACES[name]
  above = directory / "above"
  above.mkdir(mode=0o755)
  directory.chmod(0o755)
  change(above / "cache")
  end = judge(_small(above / "cache"), ("cache", "CNNLAB_CACHE"), may_succeed=fine)
  if fine and end != "success":
    raise Bad("unclear", "a private cache is refused")
  if fine and (above / "cache" / "decoded").stat().st_mode & 0o077:
    raise Bad("accepted", "others can read what was made in the cache")
  return end


def _small(cache: Path) -> Result:
  """Opens the digits, which are cached, in this process."""
  before = os.environ.get("CNNLAB_CACHE", "")
  os.environ["CNNLAB_CACHE"] = str(cache)
  try:
    return command("describe", "--config=configs/digits.py")
  finally:
    os.environ["CNNLAB_CACHE"] = before


# --- Damage to what a first run has stored; the second run must end as the first did. ---


def _each(pattern: str, damage: Callable[[Path], None]) -> Callable[[Path], None]:
  def change(cache: Path) -> None:
    found = sorted(path for path in cache.glob(pattern) if path.is_file())
    if not found:
      raise Bad("unclear", f"nothing in the cache matches {pattern}")
    for path in found:
      damage(path)

  return change


def _rotate(pattern: str) -> Callable[[Path], None]:
  """Every entry gets the bytes of the next."""

  def change(cache: Path) -> None:
    found = sorted(cache.glob(pattern))
    contents = [path.read_bytes() for path in found]
    for path, content in zip(found, contents[1:] + contents[:1], strict=True):
      path.write_bytes(content)

  return change


def _as_file(cache: Path) -> None:
  shutil.rmtree(cache)
  cache.write_text("x")


def _parts_as_files(cache: Path) -> None:
  for name in ("native", "xla", "decoded"):
    shutil.rmtree(cache / name, ignore_errors=True)
    (cache / name).write_text("x")


DAMAGED: dict[str, Callable[[Path], None]] = {
  "the cache is a file": _as_file,
  "its parts are files": _parts_as_files,
  **{
    f"{what}: {name}": _each(pattern, DAMAGE[name])
    for what, pattern in (("programs", "xla/**/*-cache"), ("arrays", "decoded/*/*.npy"),
                          ("indices", "decoded/*/index.json"), ("library", "native/*.so"))
    for name in ("empty", "cut by half", "flipped", "a directory")
    # With a folder in the library's place XLA computes: other last digits.
    if what != "library" or name in ("cut by half", "flipped")
  },
  "programs: swapped": _rotate("xla/**/*-cache"),
  "arrays: swapped": _rotate("decoded/*/*.npy"),
}  # fmt: skip


def _damaged(directory: Path, name: str) -> str:
  place = _filled()
  cache = directory / "cache"
  shutil.copytree(place / "cache", cache, symlinks=True)
  DAMAGED[name](cache)
  result = _train(place, cache, directory / "run")
  if judge(result) != "success":
    raise Bad("unclear", f"a cache can be made again: {result.err}")
  losses = [_losses(run / "metrics.jsonl") for run in (place / "run", directory / "run")]
  if losses[0] != losses[1]:
    raise Bad("lost", f"another loss than without the damage: {losses}")
  return "success"


@functools.cache
def _filled() -> Path:
  """Returns a place with a set, a run and the cache that it filled; made once for each process."""
  place = kept_directory("cache")
  make(place / "set")
  judge(_train(place, place / "cache", place / "run"))
  return place


def _train(place: Path, cache: Path, run: Path) -> Result:
  return process(
    "train", *TINY, f"--config.data.name=folder:{place / 'set'}", f"--workdir={run}",
    env={"CNNLAB_CACHE": str(cache)}, timeout=110,
  )  # fmt: skip


def _losses(path: Path) -> list[str]:
  return [
    line.partition('"train/loss"')[2].partition(",")[0] for line in path.read_text().splitlines()
  ]


# --- Runs that are killed while worker processes decode. ---


def _killed(directory: Path, how: str) -> str:
  root = make(directory / "set")
  before = set(os.listdir("/dev/shm"))
  line = [
    sys.executable, "-m", "cnnlab", "train", *TINY, "--config.max_steps=1000000",
    f"--config.data.name=folder:{root}", "--config.data.placement=stream",
    "--config.data.workers=2", "--config.data.image_size=128", "--config.log_every_steps=5",
    f"--workdir={directory / 'run'}",
  ]  # fmt: skip
  with (directory / "log").open("w") as log:
    run = subprocess.Popen(line, cwd=PROJECT, stdout=log, stderr=log)
  metrics = directory / "run" / "metrics.jsonl"
  for _ in range(900):
    if run.poll() is not None:
      raise Bad("crash", (directory / "log").read_text()[-2000:])
    if metrics.exists() and metrics.stat().st_size:
      break
    time.sleep(0.1)
  family = [run.pid, *_descendants(run.pid)]
  if how == "SIGKILL of a worker":
    os.kill(next(pid for pid in family if "spawn_main" in _line(pid)), signal.SIGKILL)
  else:
    run.send_signal(getattr(signal, how))
  try:
    run.wait(60)
  except subprocess.TimeoutExpired as error:
    run.kill()
    raise Bad("hang", f"it goes on after {how}") from error
  _wait_for_no_trace(family, before, 30)
  if "Traceback" in (directory / "log").read_text():
    raise Bad("traceback", (directory / "log").read_text()[-2000:])
  return "success"


def _wait_for_no_trace(family: list[int], before: set[str], seconds: int) -> None:
  for _ in range(seconds * 10):
    alive = [pid for pid in family if _line(pid)]
    left = _shared_memory_of(family, before)
    if not alive and not left:
      return
    time.sleep(0.1)
  for pid in alive:
    os.kill(pid, signal.SIGKILL)
  raise Bad("orphan", f"processes {alive}, {len(left)} entries in /dev/shm: {sorted(left)[:5]}")


def _shared_memory_of(family: list[int], before: set[str]) -> list[str]:
  """Returns new entries of shared memory, without those that others use meanwhile."""
  new = set(os.listdir("/dev/shm")) - before
  used: set[str] = set()
  for pid in filter(str.isdigit, os.listdir("/proc")):
    if int(pid) in family:
      continue
    try:
      used.update(Path(f"/proc/{pid}/maps").read_text().split())
    except OSError:
      continue
  return [name for name in new if f"/dev/shm/{name}" not in used]


def _descendants(pid: int) -> list[int]:
  found = []
  for path in Path(f"/proc/{pid}/task").glob("*/children"):  # each thread has children of its own
    with contextlib.suppress(OSError):
      found += [int(child) for child in path.read_text().split()]
  return [*found, *itertools.chain.from_iterable(map(_descendants, found))]


def _line(pid: int) -> str:
  """Returns the command line of a process that lives; empty for one that ended."""
  try:
    if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
      return ""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
  except OSError:
    return ""
