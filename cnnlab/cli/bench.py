"""Time the training step on synthetic data, after warm-up. The last line is a JSON object.

  cnnlab bench --model=resnet20 --image_size=32 --batch_size=128
  cnnlab bench --model=resnet56 --dtype=bfloat16 --option norm=group --option width=2
  cnnlab bench --suite                  seven nets beside PyTorch, where it is installed
  cnnlab bench --suite --only resnet20 vgg16 --json=speed.json

GMACs and GFLOPs are of one image's forward pass; a multiply-add counts as 2 FLOPs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from cnnlab.types import Json


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  what = parser.add_mutually_exclusive_group(required=True)
  what.add_argument("--model", help="a name of `cnnlab models`")
  what.add_argument("--suite", action="store_true", help="compare seven nets, see below")
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
  parser.add_argument("--only", nargs="+", default=[], metavar="NET", help="nets of the suite")
  parser.add_argument("--json", default="", metavar="FILE", help="also write the suite's results")


def run(arguments: argparse.Namespace) -> int:
  """Prints a table and a line of JSON; returns the exit code."""
  return _suite(arguments) if arguments.suite else _step(arguments)


def _step(arguments: argparse.Namespace) -> int:
  from rich.console import Console
  from rich.table import Table

  from cnnlab.bench.step import BenchSpec, bench
  from cnnlab.config import parse_value
  from cnnlab.errors import ConfigError

  options = {}
  for text in arguments.option:
    key, equals, value = text.partition("=")
    if not equals:
      raise ConfigError(f"--option {text!r} is not written KEY=VALUE")
    options[key] = parse_value(value)
  others = ("option", "suite", "only", "json")
  fields = {key: value for key, value in vars(arguments).items() if key not in others}
  result = bench(BenchSpec(options=options, **fields))
  table = Table("quantity", "value", title=f"training step of {result['model']}")
  for key, value in result.items():
    shown = "  ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
    table.add_row(key, f"{shown:,}" if isinstance(shown, (int, float)) else str(shown))
  Console().print(table)
  print(json.dumps(result))
  return 0


def _suite(arguments: argparse.Namespace) -> int:
  import jax
  from rich.console import Console
  from rich.progress import Progress

  from cnnlab.bench import suite as suites
  from cnnlab.bench.peaks import measure_peaks
  from cnnlab.bench.table import suite_table
  from cnnlab.errors import ConfigError
  from cnnlab.runs.environment import describe_environment

  suite = suites.Suite(tuple(arguments.only), arguments.dtype, arguments.seconds, arguments.repeats)
  if arguments.json and Path(arguments.json).exists():
    raise ConfigError(f"--json {arguments.json} exists already; name a new file, or move it away")
  console, platform = Console(), jax.default_backend()
  environment = describe_environment()
  peaks = measure_peaks(suite.dtype)
  total = len(suite.entries()) * len(suites.contenders(platform))
  results = []
  with Progress(console=console, transient=True) as progress:
    task = progress.add_task("timing", total=total)
    for result in suites.run_suite(suite, platform):
      results.append(result)
      progress.advance(task)
  results = suites.with_shares(results, peaks)
  report: Json = {
    "environment": environment,
    **peaks,
    "results": results,
    "ratios": suites.ratios(results),
  }
  console.print(suite_table(report, suite.dtype))
  if arguments.json:
    Path(arguments.json).write_text(json.dumps(report, indent=2) + "\n")
  print(json.dumps(report))
  return 0
