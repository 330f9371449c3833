"""Time the real training step on synthetic data, after warm-up. The last line is a JSON object.

  cnnlab bench --model=resnet20 --image_size=32 --batch_size=128
  cnnlab bench --model=resnet56 --dtype=bfloat16 --option norm=group --option width=2

GMACs and GFLOPs are of one image's forward pass; a multiply-add counts as 2 FLOPs.
"""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("--model", required=True, help="a name of `cnnlab models`")
  parser.add_argument("--image_size", type=int, default=32, help="pixels (default 32)")
  parser.add_argument("--batch_size", type=int, default=128, help="over all devices (default 128)")
  parser.add_argument("--channels", type=int, default=3, help="of the images (default 3)")
  parser.add_argument("--num_classes", type=int, default=10, help="default 10")
  parser.add_argument("--dtype", default="float32", help="float32 (default) or bfloat16")
  parser.add_argument("--parallel", default="jit", help="jit (default) or pmap")
  parser.add_argument("--seconds", type=float, default=3.0, help="a repeat takes about this long")
  parser.add_argument("--repeats", type=int, default=5, help="default 5")
  parser.add_argument(
    "--option", action="append", default=[], metavar="KEY=VALUE", help="of the model"
  )


def run(arguments: argparse.Namespace) -> int:
  """Prints a table and a line of JSON; returns the exit code."""
  from rich.console import Console
  from rich.table import Table

  from cnnlab.config import parse_value
  from cnnlab.errors import ConfigError
  from cnnlab.train.bench import BenchSpec, bench

  options = {}
  for text in arguments.option:
    key, equals, value = text.partition("=")
    if not equals:
      raise ConfigError(f"--option {text!r} is not written KEY=VALUE")
    options[key] = parse_value(value)
  fields = {key: value for key, value in vars(arguments).items() if key != "option"}
  result = bench(BenchSpec(options=options, **fields))
  table = Table("quantity", "value", title=f"training step of {result['model']}")
  for key, value in result.items():
    shown = "  ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
    table.add_row(key, f"{shown:,}" if isinstance(shown, (int, float)) else str(shown))
  Console().print(table)
  print(json.dumps(result))
  return 0
