"""Class names and probabilities of images, from a run or checkpoint directory alone.

cnnlab predict --workdir=runs/x cat.png dog.jpg
cnnlab predict --workdir=runs/x --json *.png
"""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a run or checkpoint directory"
  )
  parser.add_argument("--top", type=int, default=5, help="how many classes to show (default 5)")
  parser.add_argument("--json", action="store_true", help="one JSON object an image, all classes")
  parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG or JPEG files")


def run(arguments: argparse.Namespace) -> int:
  """Prints the predictions; returns the exit code."""
  from rich.console import Console
  from rich.table import Table

  from cnnlab.train.restore import predict

  names, probabilities = predict(arguments.workdir, arguments.images)
  table = Table("image", *(f"{rank + 1}." for rank in range(min(arguments.top, len(names)))))
  for path, row in zip(arguments.images, probabilities, strict=True):
    if arguments.json:
      print(
        json.dumps({"image": path, "probabilities": dict(zip(names, map(float, row), strict=True))})
      )
    best = sorted(range(len(names)), key=lambda i: -row[i])[: arguments.top]
    table.add_row(path, *(f"{names[i]} {row[i]:.1%}" for i in best))
  if not arguments.json:
    Console().print(table)
  return 0
