"""Show output, cost, receptive field and memory of each layer, without running the model.

  cnnlab describe resnet152 --batch_size=32
  cnnlab describe vgg16 --picture vgg16.png
  cnnlab describe resnet20 --option norm=group --option width=2 --csv > sheet.csv
  cnnlab describe --config=configs/cifar.py:resnet20 --config.model.width=2

Multiply-adds are for the forward pass of one image; memory is for a batch.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from cnnlab.types import Options

if TYPE_CHECKING:
  from ml_collections import ConfigDict

  from cnnlab.inspect import Sheet

TAKES_OVERRIDES = True


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument("model", nargs="?", help="a name from `cnnlab models`")
  parser.add_argument("--config", help="a config file instead of a name, as in `cnnlab train`")
  parser.add_argument(
    "--image_size", type=int, help="height and width in pixels (default: as published)"
  )
  parser.add_argument("--channels", type=int, help="channels of the images (default: as published)")
  parser.add_argument("--num_classes", type=int, help="number of classes (default: the model's)")
  parser.add_argument(
    "--batch_size", type=int, help="number of images for which memory is counted (default: 1)"
  )
  parser.add_argument("--optimizer", help="optimizer whose state counts as memory (default: sgd)")
  parser.add_argument(
    "--option", action="append", default=[], metavar="KEY=VALUE", help="option of the model"
  )
  form = parser.add_mutually_exclusive_group()
  form.add_argument("--json", action="store_true", help="print JSON")
  form.add_argument("--csv", action="store_true", help="print CSV, one line per layer")
  parser.add_argument("--picture", metavar="FILE", help="draw memory and cost (.png, .svg, .pdf)")


def run(arguments: argparse.Namespace) -> int:
  """Prints the sheet; returns the exit code."""
  import json

  from cnnlab.errors import ConfigError

  if (arguments.model is None) == (arguments.config is None):
    raise ConfigError("give either the name of a model or --config=PAGE")
  if arguments.config is None and any(o.startswith("--config.") for o in arguments.overrides):
    raise ConfigError(
      "--config.KEY=VALUE needs --config=PAGE; set options of a model with --option"
    )
  sheet = _of_config(arguments) if arguments.config else _of_model(arguments)
  if arguments.json:
    print(json.dumps(sheet.to_json(), indent=2))
  elif arguments.csv:
    print(sheet.table().to_csv(index=False), end="")
  else:
    _print(sheet)
  if arguments.picture:
    from cnnlab.inspect.picture import save_picture

    path = save_picture(sheet, arguments.picture)
    if not (arguments.json or arguments.csv):
      print(f"picture: {path}")
  return 0


def _of_model(arguments: argparse.Namespace) -> Sheet:
  from cnnlab.inspect import describe
  from cnnlab.inspect.catalogue import image_shape
  from cnnlab.models import create_model

  options = _options(arguments.option)
  if arguments.num_classes is not None:
    options["num_classes"] = arguments.num_classes
  model = create_model(arguments.model, **options)
  height, width, channels = image_shape(arguments.model)
  if arguments.image_size is not None:
    height = width = arguments.image_size
  return describe(
    model,
    (height, width, channels if arguments.channels is None else arguments.channels),
    name=arguments.model,
    batch_size=1 if arguments.batch_size is None else arguments.batch_size,
    optimizer=arguments.optimizer or "sgd",
  )


def _of_config(arguments: argparse.Namespace) -> Sheet:
  from cnnlab.config import apply_overrides, load_page, parse_overrides
  from cnnlab.inspect import describe, optimizer_names
  from cnnlab.inspect.sheet import WITHOUT_MOMENTUM
  from cnnlab.models import create_model

  page = load_page(arguments.config)
  config = apply_overrides(page, parse_overrides(arguments.overrides, page))
  options = config.model.to_dict() | _options(arguments.option)
  name, dtype = options.pop("name"), config.dtype
  (height, width, channels), classes = _outline(config, name)
  classes = arguments.num_classes or options.pop("num_classes", None) or classes
  options |= {"num_classes": classes} if classes else {}
  if arguments.image_size is not None:
    height = width = arguments.image_size
  optimizer = config.optim.name
  if not config.optim.momentum and optimizer + WITHOUT_MOMENTUM in optimizer_names():
    optimizer += WITHOUT_MOMENTUM
  return describe(
    create_model(name, **{"dtype": dtype} | options),
    (height, width, channels if arguments.channels is None else arguments.channels),
    name=name,
    batch_size=config.batch_size if arguments.batch_size is None else arguments.batch_size,
    optimizer=arguments.optimizer or optimizer,
  )


def _outline(config: ConfigDict, model: str) -> tuple[tuple[int, int, int], int]:
  """Returns (height, width, channels) of a config's images, and its number of classes.

  Where the data set is not at hand, they are those that the model was published for, which is told;
  the number of classes is then 0, for the model's own.
  """
  from cnnlab.data import DataSettings, outline
  from cnnlab.errors import DataError, printable
  from cnnlab.inspect.catalogue import image_shape
  from cnnlab.settings import bind

  settings = bind(DataSettings, config.data.to_dict(), "data")
  try:
    shape, names = outline(settings)
    return shape, len(names)
  except DataError as error:
    height, width, channels = image_shape(model)
    asked = settings.image_size or (height, width)
    height, width = (asked, asked) if isinstance(asked, int) else asked
    channels = settings.channels or channels
    print(
      printable(
        f"images of {height}x{width}x{channels} are assumed, as for {model} when it was published, "
        f"since the data set is not at hand: {str(error).partition('; ')[0]}"
      ),
      file=sys.stderr,
    )
    return (height, width, channels), 0


def _options(texts: list[str]) -> Options:
  from cnnlab.config import parse_value
  from cnnlab.errors import ConfigError

  options = {}
  for text in texts:
    key, equals, value = text.partition("=")
    if not equals:
      raise ConfigError(f"--option {text!r} must have the form KEY=VALUE")
    options[key] = parse_value(value)
  return options


def _print(sheet: Sheet) -> None:
  from rich.table import Table

  from cnnlab.terminal import SafeConsole

  image = "x".join(map(str, sheet.image_shape))
  table = Table(
    title=f"{sheet.name} on {image}, {sheet.optimizer}, batch of {sheet.batch_size}",
    caption="field, stride: pixels of the image; kept: activations kept for the backward pass",
    title_justify="left",
    caption_justify="left",
    show_footer=True,
    box=None,
    pad_edge=False,
  )
  kept = sum(row.kept_bytes for row in sheet.rows) * sheet.batch_size
  for head, foot, justify in (
    ("layer", "total", "left"),
    ("kind", "", "left"),
    ("output", "", "right"),
    ("parameters", f"{sheet.parameters:,}", "right"),
    ("multiply-adds", f"{sheet.multiply_adds:,}", "right"),
    ("field", "", "right"),
    ("stride", "", "right"),
    ("kept", _bytes(kept), "right"),
  ):
    table.add_column(head, foot, justify=justify, no_wrap=True)  # type: ignore[arg-type]
  for row in sheet.rows:
    line = sheet.record(row)
    table.add_row(
      line["layer"],
      line["kind"],
      line["output"],
      f"{row.parameters:,}" if row.parameters else "",
      f"{row.multiply_adds:,}" if row.multiply_adds else "",
      line["receptive_field"],
      line["stride"],
      _bytes(line["activations_bytes"]) if row.kept_bytes else "",
    )
  console = SafeConsole()
  # Output to a file or a pager is not wrapped.
  console = console if console.is_terminal else SafeConsole(width=160)
  console.print(table)
  memory = sheet.memory()
  sources = ", ".join(f"{source} {_bytes(size)}" for source, size in memory.items() if size)
  console.print(f"memory in training: {_bytes(sum(memory.values()))} = {sources}", soft_wrap=True)
  console.print(
    f"outputs of all layers: {_bytes(sheet.output_bytes)}, with as much again for their gradients if none "
    "were freed",
    soft_wrap=True,
  )


def _bytes(count: float) -> str:
  for unit in ("B", "kB", "MB"):
    if count < 1000:
      return f"{count:.3g} {unit}"
    count /= 1000
  return f"{count:.3g} GB" if count < 1000 else f"{count:,.0f} GB"
