"""Escape codes in arguments and in the files of runs: none reaches the terminal."""

from __future__ import annotations

import functools
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.drill.cases import Case, command, judge, kept_directory
from tests.drill.hostile import (
  ESCAPE,
  SWEEP,
  check_controls,
  trained,
)


def escapes() -> list[Case]:
  """Returns the cases."""
  lines = {
    "verb": (ESCAPE,),
    "unknown argument": ("train", f"--{ESCAPE}"),
    "surplus argument": ("runs", "a", ESCAPE),
    "wrong number": ("sweep", "downsampling_digits", f"--workers={ESCAPE}"),
    "page": ("train", f"--config={ESCAPE}.py", "--workdir=x"),
    "form": ("train", f"--config=configs/digits.py:{ESCAPE}", "--workdir=x"),
    "key": ("train", "--config=configs/digits.py:tiny", "--workdir=x", f"--config.{ESCAPE}=1"),
    "value": (
      "train",
      "--config=configs/digits.py:tiny",
      "--workdir=x",
      f"--config.model.name={ESCAPE}",
    ),
    "text value": (
      "train",
      "--config=configs/digits.py:tiny",
      "--workdir=x",
      f"--config.data.name={ESCAPE}",
    ),
    "workdir of eval": ("eval", f"--workdir={ESCAPE}"),
    "workdir of predict": ("predict", f"--workdir={ESCAPE}", "a.png"),
    "folder of runs": ("runs", ESCAPE),
    "folder of report": ("report", ESCAPE),
    "model": ("describe", f"--model={ESCAPE}"),
    "pattern": ("models", ESCAPE),
    "bench": ("bench", f"--model={ESCAPE}"),
    "experiment": ("sweep", ESCAPE),
    "recipe": ("sweep", "downsampling_digits", f"--recipe={ESCAPE}"),
    "variant": ("sweep", "downsampling_digits", f"--only={ESCAPE}"),
    "launcher": ("sweep", "downsampling_digits", f"--on={ESCAPE}"),
    "option": ("sweep", "downsampling_digits", f"--option={ESCAPE}"),
    "option's value": (
      "sweep",
      "downsampling_digits",
      "--recipe=tiny",
      "--on=slurm",
      f"--option=time={ESCAPE}",
    ),
    "weights": ("convert", "--model=resnet18", f"--weights={ESCAPE}.pth", "--out=x"),
    "out": ("convert", "--model=resnet18", "--weights=/dev/null", f"--out=/dev/null/{ESCAPE}"),
  }
  found = [Case("terminal: arguments", name, _escape, (line,)) for name, line in lines.items()]
  run, images = (
    ("name of a run", "status", "reason", "config value", "config key"),
    "name of an image",
  )
  names = ("metric's name", "class names", "task's class names")
  places = {
    "runs": (*run, "metric's name"),
    "runs --csv": ("name of a run", "reason"),
    "report": (*run, "metric's name"),
    "sweep": ("name of a run", "status", "reason"),
    "predict": ("config value", *names, images),
    "eval": ("config key", "task's class names"),
  }
  return found + [
    Case("terminal: files", f"{place} in {verb}", _escape_in_files, (place, verb), 180.0)
    for verb in places
    for place in places[verb]
  ]


def _escape(directory: Path, line: tuple[str, ...]) -> str:
  result = command(*line)
  check_controls(result)
  if result.code == 0:
    return "success"
  return judge(result, may_succeed=True)


def _escape_in_files(directory: Path, place: str, verb: str) -> str:
  sweep = trained(directory)
  run = sweep / "max" / "seed0"
  image = directory / "x.png"
  shutil.copy(_image(), image)

  def edit(name: str, change: Callable[[dict], object]) -> None:
    content = json.loads((run / name).read_text())
    change(content)
    (run / name).write_text(json.dumps(content))

  if place == "name of a run":
    (sweep / "max").rename(sweep / f"max{ESCAPE}".replace("/", ""))
    run = sweep / f"max{ESCAPE}" / "seed0"
  elif place == "status":
    edit("status.json", lambda c: c.update(status=ESCAPE))
  elif place == "reason":
    edit("status.json", lambda c: c.update(status="failed", reason=ESCAPE, error=ESCAPE))
  elif place == "config value":
    edit("config.json", lambda c: c["model"].update(downsample=ESCAPE))
  elif place == "config key":
    edit("config.json", lambda c: c["model"].update({ESCAPE: 1}))
  elif place == "metric's name":
    edit("status.json", lambda c: c["metrics"].update({f"eval/{ESCAPE}": 1.0}))
    edit("config.json", lambda c: c["derived"].update(best_metric=[f"eval/{ESCAPE}", "min"]))
  elif place == "class names":
    edit("config.json", lambda c: c["derived"].update(class_names=[ESCAPE] * 10))
  elif place == "task's class names":
    edit("config.json", lambda c: _replace_names(c["derived"]))
  else:
    image = image.rename(directory / f"{ESCAPE}.png")
  line = {
    "runs": ("runs", str(directory)),
    "runs --csv": ("runs", "--csv", str(directory)),
    "report": ("report", str(sweep)),
    "predict": ("predict", f"--workdir={run}", str(image)),
    "eval": ("eval", f"--workdir={run}"),
    "sweep": (*SWEEP, f"--root={directory}", "--dry_run"),
  }[verb]
  result = command(*line)
  check_controls(result)
  if result.code in (0, 1) and not result.trace:  # a sweep with a refused run ends with 1
    return "success"
  return judge(result)


def _replace_names(value: object) -> None:
  """Replaces every text in lists of ten."""
  if isinstance(value, dict):
    for key, inner in value.items():
      if isinstance(inner, list) and len(inner) == 10:
        value[key] = [ESCAPE] * 10
      else:
        _replace_names(inner)


@functools.cache
def _image() -> Path:
  from PIL import Image

  path = kept_directory("security") / "x.png"
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
  return path
