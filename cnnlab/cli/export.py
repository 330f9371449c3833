"""Export a trained network to a file that is used without cnnlab.

  cnnlab export --workdir=runs/x --format=safetensors --out=x.safetensors
  cnnlab export --workdir=runs/x/checkpoints/best --format=stablehlo --out=x.stablehlo
  cnnlab export --workdir=runs/x --format=onnx --out=x.onnx

A .safetensors file holds the weights. The other two hold the program from uint8 images to the
predictions, preprocessing included, for any batch size. The output is a JSON object that states
the program's input and outputs, and the names of the classes.
"""

from __future__ import annotations

import argparse
import json

FORMATS, NAMES = ("safetensors", "stablehlo", "onnx"), ("cnnlab", "torchvision")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "--workdir", required=True, metavar="DIR", help="a run or checkpoint directory"
  )
  parser.add_argument(
    "--format", required=True, choices=FORMATS, help="onnx needs `pip install 'cnnlab[onnx]'`"
  )
  parser.add_argument("--out", required=True, metavar="FILE", help="the file to create")
  parser.add_argument(
    "--names", choices=NAMES, default=NAMES[0], help="names of the weights (default: cnnlab)"
  )


def run(arguments: argparse.Namespace) -> int:
  """Writes the file; returns the exit code."""
  from cnnlab.errors import printable
  from cnnlab.runs import load
  from cnnlab.runs.export import about

  loaded = load(arguments.workdir)
  file = loaded.export(arguments.out, arguments.format, arguments.names)
  print(printable(json.dumps({"file": str(file), **about(loaded.trained)})))
  return 0
