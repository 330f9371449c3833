"""Predict images with a run or checkpoint directory; nothing else is needed.

cnnlab predict --workdir=runs/x cat.png dog.jpg
cnnlab predict --workdir=runs/x/checkpoints/best photos
cnnlab predict --workdir=runs/x --json *.png
cnnlab predict --workdir=runs/segments --draw=pictures street.jpg
cnnlab predict --workdir=runs/go --draw=pictures --move=57 game.sgf

A folder stands for the images in it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from cnnlab.runs.trained import Predicted, Trained


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--workdir",
    required=True,
    metavar="DIR",
    help="a run or checkpoint directory; DIR/checkpoints/best is the best by the main metric",
  )
  parser.add_argument("--top", type=int, default=5, help="number of results to show (default 5)")
  parser.add_argument("--json", action="store_true", help="print one JSON object per image")
  parser.add_argument(
    "--draw", metavar="DIR", help="write a picture of each prediction, if the task supports it"
  )
  parser.add_argument(
    "--move", type=int, action="append", default=[], metavar="N",
    help="of a game of Go: predict its Nth move (default: the one after its last); may be repeated",
  )  # fmt: skip
  parser.add_argument(
    "images", nargs="+", metavar="IMAGE", help="PNG, JPEG, BMP or WebP files, or folders of them"
  )


def run(arguments: argparse.Namespace) -> int:
  """Prints the predictions; returns the exit code."""
  from rich.table import Table

  from cnnlab.errors import ConfigError, printable
  from cnnlab.runs import load
  from cnnlab.terminal import SafeConsole
  from cnnlab.train.compile_cache import enable_compile_cache

  if arguments.top < 1:
    raise ConfigError(f"--top is {arguments.top}; allowed: 1 and more")
  if arguments.draw == "":
    raise ConfigError("--draw is empty; allowed: a directory")
  enable_compile_cache()
  trained = load(arguments.workdir).trained
  if trained.task.predicts_from == "games":
    from cnnlab.cli.predict_moves import predict_moves

    for path in arguments.images:
      predict_moves(trained, path, arguments.move, arguments.top, arguments.json, arguments.draw)
    return 0
  if arguments.move:
    raise ConfigError("--move is for runs of the task 'move_prediction'")
  found = list(trained.predictions(arguments.images))
  cells = [trained.task.describe(one.prediction, arguments.top) for one in found]
  table = Table("image", *(f"{rank + 1}." for rank in range(max(map(len, cells)))))
  for one, described in zip(found, cells, strict=True):
    if arguments.json:
      print(json.dumps({"image": one.name, **trained.task.to_json(one.prediction)}))
    table.add_row(one.name, *described)
  if not arguments.json:
    SafeConsole().print(table)
  if arguments.draw:
    for written in _draw(trained, found, Path(arguments.draw)):
      print(printable(f"picture: {written}"))
  return 0


def _draw(trained: Trained, found: Sequence[Predicted], folder: Path) -> list[Path]:
  """Writes `<name of the image>.png` for each prediction; returns the files.

  Raises:
    ConfigError: the task draws no pictures, a file of that name exists, or none can be written.
  """
  from cnnlab.data import load_image
  from cnnlab.errors import ConfigError
  from cnnlab.train.pictures import save_picture

  channels = trained.preprocess.channels
  pictures = {
    folder / f"{Path(one.name).stem}.png": trained.task.draw(
      load_image(one.name, channels=channels), one.prediction
    )
    for one in found
  }
  if len(pictures) < len(found):
    raise ConfigError("--draw: two images have the same file name; draw them in separate calls")
  drawn = {file: picture for file, picture in pictures.items() if picture is not None}
  if len(drawn) < len(pictures):
    raise ConfigError("--draw: the task of this run draws no pictures")
  for file in drawn:
    if file.exists():
      raise ConfigError(f"--draw: {file} exists; name another directory")
  try:
    folder.mkdir(parents=True, exist_ok=True)
    for file, picture in drawn.items():
      save_picture(picture, file)
  except OSError as error:
    raise ConfigError(f"--draw: {folder} cannot be written: {error.strerror or error}") from error
  return list(drawn)
