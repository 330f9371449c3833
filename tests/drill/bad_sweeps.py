"""Options and folders that no sweep can use, and sweeps in which a run is damaged."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import shutil
import sys
from pathlib import Path
from unittest import mock

from tests.drill.cases import PROJECT, Bad, Case, Result, command, files_below, judge
from tests.drill.hostile import (
  SWEEP,
  check_controls,
  fake_slurm,
  spec_of,
  trained,
)


def options() -> list[Case]:
  """Returns the cases."""
  given: dict[str, tuple[str, ...]] = {
    "--workers": ("0", "-1", "5000", "x", "1.5", "", "99999999999999999999"),
    "--seeds": ("0", "-1", "x", "1000000000", "1.5", "99999999999999999999"),
    "--together": ("0", "-1", "x", "99999999999999999999"),
    "--on": ("", "slrum", "launch.local", "../local"),
    "--only": ("", "nope", "[", "a" * 5000),
    "--recipe": ("nope", "../tiny"),
    "--option": ("", "=", "x", "=x", "together", "together=0", "together=x", "nope=1", "x=\0"),
  }
  found = [
    Case("sweep: options", f"{key}={value[:20]!r}", _option, ((f"{key}={value}",),))
    for key, values in given.items()
    for value in values
  ]
  zeros = {(key, "0") for key in ("gpus", "memory_gb", "requeues", "signal_delay", "wait")}
  zeros |= {("gpus", "-1")}
  numbers = ("nan", "inf", "-1", "0", "1e999", "99999999999999999999", "", "x", "1.5", "٣")
  for launcher, keys in {
    "slurm": ("time", "cpus", "gpus", "memory_gb", "requeues", "signal_delay", "wait"),
    "ray": ("cpus", "gpus"),
  }.items():
    found += [
      Case(f"options: {launcher}", f"{key}={value}", _launcher_option, (launcher, key, value))
      for key, value in itertools.product(keys, numbers)
      # Those are good.
      if (key, value) not in zeros
      and not (launcher == "ray" and value in ("1.5", "٣"))
      and not (launcher == "slurm" and value == "٣")
    ]
  found += [
    Case("options: ray", f"address={address!r}", _launcher_option, ("ray", "address", address))
    for address in ("nowhere", "ray://127.0.0.1:1", "a\nb", "\x1b[31m")
  ]
  found.append(Case("options: ray", "not installed", _without_ray))
  found.append(Case("options: slurm", "not installed", _without_slurm))
  return found


def _option(directory: Path, more: tuple[str, ...]) -> str:
  result = command(*SWEEP[:3], f"--root={directory}/runs", "--config.max_steps=1", *more)
  check_controls(result)
  end = judge(result, may_succeed=False)
  if (directory / "runs").exists():
    raise Bad("wrote", str(sorted((directory / "runs").rglob("*"))))
  return end


def _launcher_option(directory: Path, launcher: str, key: str, value: str) -> str:
  return _launched(directory, launcher, {key: value})


def _launched(directory: Path, launcher: str, settings: dict[str, str]) -> str:
  import importlib
  import traceback

  from rich.console import Console

  from cnnlab.errors import CnnlabError

  options = {"console": Console(file=io.StringIO()), "logs": directory / "runs" / "logs"}
  if launcher == "slurm":
    settings = {"wait": "no"} | settings
  slurm = fake_slurm(directory) if "--" not in settings else contextlib.nullcontext()
  with slurm:
    try:
      run_sweep = importlib.import_module(f"cnnlab.launch.{launcher}").run_sweep
      run_sweep([spec_of(directory / "runs", "a")], settings=settings, **options)
    except CnnlabError as error:
      (key,) = set(settings) - ({"wait"} if launcher == "slurm" and len(settings) > 1 else set())
      return judge(Result(2, "", f"error: {error}"), (key,) if key != "address" else ())
    except Exception as error:
      raise Bad("traceback", traceback.format_exc()[-2000:]) from error
  raise Bad("accepted", f"{settings}")


def _without_ray(directory: Path) -> str:
  # `patch.dict` would also forget every module that the sweep imports, which NumPy does not survive.
  installed = sys.modules.pop("ray", None)
  sys.modules["ray"] = None  # type: ignore[assignment]
  try:
    return judge(_sweep_on(directory, "ray"), ("pip install 'cnnlab[ray]'",), may_succeed=False)
  finally:
    del sys.modules["ray"]
    if installed is not None:
      sys.modules["ray"] = installed


def _without_slurm(directory: Path) -> str:
  with mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
    return judge(_sweep_on(directory, "slurm"), ("no SLURM on this machine",), may_succeed=False)


def _sweep_on(directory: Path, launcher: str) -> Result:
  return command(*SWEEP, f"--root={directory}/runs", f"--on={launcher}")


def roots() -> list[Case]:
  """Returns the cases."""
  roots = {
    "a file": "file",
    "below a file": "file/x",
    "below a device": "/dev/null/x",
    "where nothing can be made": "/proc/x",
    "read-only": "/sys/x",
    "300 characters": "x" * 300,
    "5,000 characters": "x/" * 2500,
    "NUL": "a\0b",
    "a link to itself": "loop",
    "a link to nothing": "broken/x",
  }
  good = {
    "missing parents": "a/b/c",
    "spaces and quotes": 'it\'s "a" $(root)',
    "not UTF-8": "caf\udce9",
    "markup": "[red]x[/]",
    "a line break": "a\nb",
    "escape codes": "\x1b[31m",
    "empty": "",
  }
  return [
    *(Case("sweep: root", name, _root, (root, False), 240.0) for name, root in roots.items()),
    *(Case("sweep: root", name, _root, (root, True), 240.0) for name, root in good.items()),
  ]


def _root(directory: Path, root: str, may_succeed: bool) -> str:
  (directory / "file").write_text("mine")
  (directory / "loop").symlink_to("loop")
  (directory / "broken").symlink_to("nothing")
  (directory / "experiments").symlink_to(PROJECT / "experiments")
  (directory / "configs").symlink_to(PROJECT / "configs")
  line = (*SWEEP, f"--root={root}")
  line = (*line[:4], "--seeds=1", *line[5:])
  with contextlib.chdir(directory):
    result = command(*line)
  check_controls(result)
  if (directory / "file").read_text() != "mine":
    raise Bad("lost", "the file was overwritten")
  return judge(result, may_succeed=may_succeed)


# Damaged runs

DAMAGES: dict[str, bytes | None] = {
  "[]": b"[]",
  "null": b"null",
  "a number": b"5",
  "text": b'"text"',
  "empty": b"",
  "cut": b'{"status": "do',
  "not UTF-8": b'{"status": "\xff\xfe"}',
  "nested": b'{"status": {"a": []}, "step": "x", "metrics": 5, "total_steps": []}',
  "100,000 deep": b"[" * 100_000,
  "a folder": None,
}


# Training takes seconds: where it is checked that the other run is trained.
_WITH_TRAINING = (("status.json", "[]"), ("config.json", "a folder"), ("", "[]"))


def damaged() -> list[Case]:
  """Returns the cases."""
  files = ("status.json", "config.json", "metrics.jsonl", "environment.json", "checkpoints", "")
  return [
    Case("sweep: damaged run", f"{file or 'run directory'} is {name}", _damage, (file, name), 240.0)
    for file in files
    for name in (DAMAGES if file in ("status.json", "config.json") else ("[]", "a folder"))
    if (file, name) != ("", "a folder")
  ]


def _damage(directory: Path, file: str, name: str) -> str:
  """Damages one finished run of two: the sweep passes it over, and trains the other if it is gone."""
  sweep = trained(directory)
  run, other = sweep / "max" / "seed0", sweep / "max" / "seed1"
  if (file, name) in _WITH_TRAINING:
    shutil.rmtree(other)
  path = run / file if file else run
  shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
  content = DAMAGES[name]
  if content is None:
    path.mkdir()
    (path / "x").write_text("mine")
  else:
    path.write_bytes(content)
  before = files_below(run) if run.is_dir() else run.read_bytes()
  result = command(*SWEEP, f"--root={directory}")
  check_controls(result)
  if result.trace:
    raise Bad("traceback", result.trace[-3000:])
  if not (other / "status.json").exists() or '"done"' not in (other / "status.json").read_text():
    raise Bad("lost", f"the other run is not done: {result.err}{result.out}")
  if result.code not in (0, 1):
    raise Bad("unclear", f"exit code {result.code}: {result.err}{result.out}")
  # An object with other values is another config's, as far as anybody can tell.
  words = "refused" if (file, name) == ("config.json", "nested") else "damaged"
  if result.code == 1 and words not in result.out + result.err:
    raise Bad("unclear", result.out + result.err)
  after = files_below(run) if run.is_dir() else run.read_bytes()
  if result.code == 1 and after != before:
    raise Bad("wrote", f"the damaged run was changed: {result.out}{result.err}")
  return "success" if result.code == 0 else "refused"
