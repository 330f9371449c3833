"""Hostile options, names and paths through each launcher: nothing of them is executed."""

from __future__ import annotations

import contextlib
import io
import itertools
import shlex
from pathlib import Path

from tests.drill.cases import PROJECT, Bad, Case, Result, judge
from tests.drill.hostile import (
  ESCAPE,
  HOSTILE,
  check_controls,
  check_marker,
  fake_slurm,
  spec_of,
)


def slurm() -> list[Case]:
  """Returns the cases."""
  places = ("partition", "account", "qos", "constraint", "root", "label", "setup", "cluster")
  return [
    Case("injection: slurm", f"{place}: {text!r}", _submitted, (place, text))
    for place, text in itertools.product(places, HOSTILE)
  ]


def _submitted(directory: Path, place: str, text: str) -> str:
  """Submits a run with a hostile text; what sbatch gets must be that text, or it is refused."""
  from rich.console import Console

  from cnnlab.errors import CnnlabError
  from cnnlab.launch.slurm import run_sweep

  root = directory / (text.replace("/", "") if place == "root" else "runs")
  spec = spec_of(root, text.replace("/", "") if place == "label" else "a")
  settings = {"wait": "no"} | ({place: text} if place not in ("root", "label") else {})
  if place == "setup":
    settings["setup"] = f": {shlex.quote(text)}"  # commands by design; these do nothing
  console = Console(file=io.StringIO())
  with fake_slurm(directory) as script:
    try:
      run_sweep([spec], console=console, logs=root / "logs", settings=settings)
    except CnnlabError as error:
      check_marker(directory)
      return judge(Result(2, "", f"error: {error}"))
    lines = script.read_text().splitlines()
  check_marker(directory, root)
  try:
    given = dict(
      shlex.split(line.removeprefix("#SBATCH --"))[0].split("=", 1)
      for line in lines
      if line.startswith("#SBATCH --") and "=" in line
    )
  except ValueError as error:
    raise Bad("accepted", "\n".join(lines)) from error
  if place in given and given[place] != text:
    raise Bad("accepted", f"sbatch gets {given[place]!r}")
  if place == "root" and given["output"] != f"{root}/logs/slurm/%j_0_log.out":
    raise Bad("accepted", f"sbatch gets {given['output']!r}")
  if place == "cluster":
    raise Bad("accepted", console.file.getvalue())  # type: ignore[attr-defined]
  return "success"


def hostile_names(directory: Path, launcher: str) -> str:
  """Runs all hostile names in one sweep of a launcher: each is trained in its own directory."""
  import importlib

  from cnnlab.terminal import SafeConsole

  if importlib.util.find_spec("ray") is None and launcher == "ray":
    return "refused"
  root = directory / 'it\'s "the" root $(x) [red]'
  specs = [spec_of(root, text) for text in (*HOSTILE, ESCAPE.replace("]0", ""))]
  out = io.StringIO()
  run_sweep = importlib.import_module(f"cnnlab.launch.{launcher}").run_sweep
  with contextlib.chdir(PROJECT):
    result = run_sweep(
      specs,
      "tests.launch.fakes:execute",
      console=SafeConsole(file=out, width=300),
      logs=root / "logs",
      workers=2,
    )
  check_marker(directory, root, PROJECT)
  wrong = [o for o in result.outcomes.values() if o.status != "done"]
  missing = [s.label for s in specs if not (Path(s.directory) / "done.json").exists()]
  if wrong or missing or len(result.outcomes) != len(specs):
    raise Bad("lost", f"{wrong} {missing} {out.getvalue()}")
  plain = [spec.name for spec in specs if spec.name.isprintable()]
  if hidden := [name for name in plain if name not in out.getvalue()]:
    raise Bad("unclear", f"{hidden} are not shown: {out.getvalue()}")
  check_controls(Result(0, out.getvalue(), "", command=(launcher,)))
  return "success"
