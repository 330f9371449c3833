"""Time the training step on synthetic data, or the input beside it. The last line is a JSON object.

  cnnlab bench --model=resnet20 --image_size=32 --batch_size=128
  cnnlab bench --model=resnet56 --dtype=bfloat16 --option norm=group --option width=2
  cnnlab bench --suite                  seven nets beside PyTorch, where it is installed
  cnnlab bench --suite --only resnet20 vgg16 --json=speed.json
  cnnlab bench --input=configs/cifar.py:resnet20 --config.data.dir=DATA_DIR
  cnnlab bench --input=tfds:cifar10 --data_dir=DATA_DIR --workers=4
  cnnlab bench --input=folder:PATH --model=resnet50 --image_size=224 --batch_size=64

GMACs and GFLOPs are of one image's forward pass; a multiply-add counts as 2 FLOPs.
--input streams a data set and shows images/s of the loader alone, of the step alone, of both
together, and of PyTorch's DataLoader on the same files, where it is installed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from cnnlab.types import Json

TAKES_OVERRIDES = True

# Arguments that stand for a config key with --input.
_KEYS = {
  "model": "model.name",
  "image_size": "data.image_size",
  "batch_size": "batch_size",
  "channels": "data.channels",
  "dtype": "dtype",
  "parallel": "parallel",
  "data_dir": "data.dir",
  "workers": "data.workers",
}
_WITHOUT_INPUT = ("data_dir", "workers")


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("--model", help="a name of `cnnlab models`")
  what = parser.add_mutually_exclusive_group()
  what.add_argument("--suite", action="store_true", help="compare seven nets, see below")
  what.add_argument(
    "--input",
    default="",
    metavar="SET",
    help="a config page, folder:<path> or tfds:<name>: time its loader, the step and both",
  )
  parser.add_argument("--image_size", type=int, help="pixels (default 32, or the set's own)")
  parser.add_argument("--batch_size", type=int, help="over all devices (default 128)")
  parser.add_argument("--channels", type=int, help="of the images (default 3, or the set's own)")
  parser.add_argument("--num_classes", type=int, help="of --model (default 10)")
  parser.add_argument("--dtype", help="float32 (default) or bfloat16")
  parser.add_argument("--parallel", help="jit (default) or pmap")
  parser.add_argument("--seconds", type=float, default=3.0, help="a repeat takes about this long")
  parser.add_argument("--repeats", type=int, default=5, help="default 5")
  parser.add_argument(
    "--option", action="append", default=[], metavar="KEY=VALUE", help="of the model"
  )
  parser.add_argument("--only", nargs="+", default=[], metavar="NET", help="nets of the suite")
  parser.add_argument("--json", default="", metavar="FILE", help="also write the suite's results")
  parser.add_argument("--data_dir", help="of --input=tfds:<name>: the TFDS data_dir")
  parser.add_argument("--workers", type=int, help="of --input: decoding processes (default: cores)")
  parser.add_argument("--config.KEY", metavar="VALUE", help="override a key of --input's page")


def run(arguments: argparse.Namespace) -> int:
  """Prints a table and a line of JSON; returns the exit code."""
  from cnnlab.errors import ConfigError

  if arguments.input:
    return _input(arguments)
  for name in _WITHOUT_INPUT:
    if getattr(arguments, name) is not None:
      raise ConfigError(f"--{name} belongs to --input")
  for override in arguments.overrides:
    if override.startswith("--config."):
      raise ConfigError(f"{override} belongs to --input")
  if arguments.suite == bool(arguments.model):
    raise ConfigError("give one of --model, --suite and --input")
  return _suite(arguments) if arguments.suite else _step(arguments)


def _options(texts: list[str]) -> dict[str, Any]:
  from cnnlab.config import parse_value
  from cnnlab.errors import ConfigError

  options = {}
  for text in texts:
    key, equals, value = text.partition("=")
    if not equals:
      raise ConfigError(f"--option {text!r} is not written KEY=VALUE")
    options[key] = parse_value(value)
  return options


def _input(arguments: argparse.Namespace) -> int:
  from cnnlab.bench.input import bench_input, input_config, input_page, input_table
  from cnnlab.config import parse_overrides
  from cnnlab.errors import ConfigError
  from cnnlab.terminal import SafeConsole

  if arguments.num_classes is not None:
    raise ConfigError("--num_classes belongs to --model; with --input it follows from the data set")
  page = input_page(arguments.input)
  overrides = parse_overrides(arguments.overrides, page)
  for name, key in _KEYS.items():
    if getattr(arguments, name) is not None:
      overrides[key] = getattr(arguments, name)
  overrides |= {f"model.{key}": value for key, value in _options(arguments.option).items()}
  config = input_config(page, overrides)
  result = bench_input(config, overrides, arguments.seconds, arguments.repeats)
  SafeConsole().print(input_table(result))
  print(json.dumps(result))
  return 0


def _step(arguments: argparse.Namespace) -> int:
  from rich.table import Table

  from cnnlab.bench.step import BenchSpec, bench
  from cnnlab.terminal import SafeConsole

  names = ("model", "image_size", "channels", "batch_size", "num_classes", "dtype", "parallel")
  given = {name: getattr(arguments, name) for name in (*names, "seconds", "repeats")}
  fields = {name: value for name, value in given.items() if value is not None}
  result = bench(BenchSpec(options=_options(arguments.option), **fields))
  table = Table("quantity", "value", title=f"training step of {result['model']}")
  for key, value in result.items():
    shown = "  ".join(f"{k} {v:,}" for k, v in value.items()) if isinstance(value, dict) else value
    table.add_row(key, f"{shown:,}" if isinstance(shown, (int, float)) else str(shown))
  SafeConsole().print(table)
  print(json.dumps(result))
  return 0


def _suite(arguments: argparse.Namespace) -> int:
  import jax
  from rich.progress import Progress

  from cnnlab.bench import suite as suites
  from cnnlab.bench.peaks import measure_peaks
  from cnnlab.bench.table import suite_table
  from cnnlab.errors import ConfigError
  from cnnlab.runs.environment import describe_environment
  from cnnlab.terminal import SafeConsole

  suite = suites.Suite(
    tuple(arguments.only), arguments.dtype or "float32", arguments.seconds, arguments.repeats
  )
  if arguments.json and Path(arguments.json).exists():
    raise ConfigError(f"--json {arguments.json} exists already; name a new file, or move it away")
  console, platform = SafeConsole(), jax.default_backend()
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
