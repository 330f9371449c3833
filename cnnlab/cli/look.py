"""Look inside a trained network: pictures, with the numbers that they show beside them.

  cnnlab look --workdir=runs/x --out=inside
  cnnlab look --workdir=runs/x --what=saliency,grad_cam --stage=stage2 --out=inside cat.png photos
  cnnlab look --workdir=runs/x --what=adversarial --epsilons=0,2,4,8 --examples=500 --out=attacks
  cnnlab look --workdir=runs/x --what=units,deconvolution --stage=stage2 --out=units
  cnnlab look --workdir=runs/x --what=deep_dream --stage=stage3 --size=400 --out=dream cat.png
  cnnlab look --workdir=runs/vgg19 --what=style --style=wave.jpg --size=256 --out=styled cat.png

Without images, examples of the evaluation split are taken, evenly spaced. `adversarial` and `lesions`
always take that split, whose labels they need; the keys of `data` can be overridden, such as
--config.data.dir=DIR.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.errors import ConfigError, printable, unknown

if TYPE_CHECKING:
  from cnnlab.inspect.subject import Found, Subject, Wishes

TAKES_OVERRIDES = True
ATTRIBUTIONS = (
  "saliency", "guided_backpropagation", "integrated_gradients", "occlusion", "grad_cam",
)  # fmt: skip
USUAL = ("filters", "activations", *ATTRIBUTIONS)
WHAT = (
  *USUAL, "class_maps", "adversarial", "lesions", "feature_reuse", "units", "deconvolution",
  "deep_dream", "class_model", "style",
)  # fmt: skip
MOST_SIZE = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  add = parser.add_argument
  add("--workdir", required=True, metavar="DIR", help="a run or checkpoint directory")
  add("--out", required=True, metavar="DIR", help="a new directory to write to")
  add(
    "--what",
    metavar="NAMES",
    help=f"of {', '.join(WHAT)} (default: the first {len(USUAL)}, as far as the network allows)",
  )
  add(
    "--stage",
    metavar="NAME",
    help="map for activations and grad_cam; for units, deconvolution and deep_dream also the path of a "
    "module, such as conv4_2 (default: the last stage)",
  )
  add("--count", type=int, default=6, help="images of the evaluation split (default 6)")
  add(
    "--examples",
    type=int,
    default=256,
    help="images searched, attacked or classified without blocks (default 256)",
  )
  add(
    "--epsilons",
    default="0,1,2,4,8,16",
    metavar="LEVELS",
    help="sizes of attacks in levels of 0 to 255 (default 0,1,2,4,8,16)",
  )
  add(
    "--units", metavar="NUMBERS", help="of a map (default: the most selective; all for deep_dream)"
  )
  add(
    "--per_image", type=int, default=1, help="patches that a unit may have of an image (default 1)"
  )
  add(
    "--classes", metavar="NAMES", help="names or numbers for class_model (default: the first three)"
  )
  add(
    "--size",
    type=int,
    metavar="S",
    help="shorter side of images for deep_dream and style, side of images for others, in pixels "
    "(default: the run's)",
  )
  add("--style", metavar="IMAGE", help="whose style is taken")
  add(
    "--style_weight", type=float, metavar="W", help="of the style beside the content (default 1000)"
  )
  add(
    "--variation", type=float, metavar="W", help="of total variation in style and class_model (0)"
  )
  add(
    "--steps",
    type=int,
    metavar="N",
    help="of deep_dream at each size (default 10), style (100) and class_model (200)",
  )
  add("--octaves", type=int, metavar="N", help="sizes of deep_dream (default 4)")
  add(
    "--jitter",
    type=int,
    metavar="PIXELS",
    help="shifts in deep_dream (default 32), class_model (0)",
  )
  add("--config.data.KEY", metavar="VALUE", help="override a key of the data, such as data.dir")
  add("images", nargs="*", metavar="IMAGE", help="PNG, JPEG, BMP or WebP files, or folders of them")


def run(arguments: argparse.Namespace) -> int:
  """Writes pictures and numbers; returns the exit code."""
  from cnnlab.config import parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.inspect.subject import Found
  from cnnlab.runs.files import new_folder
  from cnnlab.train.compile_cache import enable_compile_cache

  overrides = parse_overrides(arguments.overrides, default_config())
  strict = arguments.what is not None
  what = [name for name in arguments.what.split(",") if name] if strict else list(USUAL)
  for name in what:
    if name not in WHAT:
      raise ConfigError(unknown("value of --what", name, WHAT))
  if not what:
    raise ConfigError(f"--what is empty; allowed: {', '.join(WHAT)}")
  if "style" in what and arguments.style is None:
    raise ConfigError("--what=style needs --style=IMAGE")
  wishes = _wishes(arguments)
  out = new_folder("--out", arguments.out)
  enable_compile_cache()
  subject, found = _subject(arguments, overrides, wishes, what), Found(strict)
  _look(subject, what, found)
  for file in _write(found, out):
    print(printable(f"saved: {file}"))
  return 0


def _wishes(arguments: argparse.Namespace) -> Wishes:
  """Returns what is asked for; ConfigError where it makes no sense."""
  import dataclasses

  from cnnlab.inspect.subject import MOST_IMAGES, Wishes

  given = vars(arguments)
  if not 1 <= given["count"] <= MOST_IMAGES or given["examples"] < 1 or given["per_image"] < 1:
    raise ConfigError(
      f"--count is {given['count']}, --examples {given['examples']} and --per_image "
      f"{given['per_image']}; allowed: 1 to {MOST_IMAGES}, and 1 or more"
    )
  for name, least, most in (("size", 8, MOST_SIZE), ("steps", 1, 10**6), ("octaves", 1, 20)):
    if given[name] is not None and not least <= given[name] <= most:
      raise ConfigError(f"--{name} is {given[name]}; allowed: {least} to {most}")
  for name in ("style_weight", "variation", "jitter"):
    if given[name] is not None and not 0 <= given[name] < 1e12:
      raise ConfigError(f"--{name} is {given[name]}; allowed: 0 and more")
  try:
    units = tuple(int(part) for part in (given["units"] or "").split(",") if part)
  except ValueError:
    raise ConfigError(f"--units is {given['units']!r}; allowed: numbers, such as 3,17") from None
  parsed = {
    "epsilons": tuple(_epsilons(arguments.epsilons)),
    "units": units,
    "classes": tuple(part for part in (arguments.classes or "").split(",") if part),
  }
  names = {field.name for field in dataclasses.fields(Wishes)}
  return Wishes(**{name: given[name] for name in names} | parsed)


def _epsilons(text: str) -> list[float]:
  try:
    found = sorted({float(part) for part in text.split(",")})
  except ValueError:
    found = []
  if not found or not 0 <= found[0] <= found[-1] <= 255:
    raise ConfigError(f"--epsilons is {text!r}; allowed: numbers from 0 to 255, such as 0,2,8")
  return found


def _subject(
  arguments: argparse.Namespace, overrides: dict[str, object], wishes: Wishes, what: list[str]
) -> Subject:
  """Returns the network; ConfigError where it is none of images."""
  from cnnlab.inspect.subject import Subject, resized
  from cnnlab.runs import load

  trained = load(arguments.workdir).trained
  channels = trained.preprocess.channels
  if trained.task.predicts_from != "images" or channels not in (1, 3):
    raise ConfigError(
      f"--workdir {arguments.workdir}: cnnlab look takes networks of gray or color images; this one takes "
      f"{trained.task.predicts_from} of {channels} channels"
    )
  if wishes.size is not None and {*what} - {"deep_dream", "style"}:
    if not arguments.images and {*what} != {"class_model"}:
      raise ConfigError("--size is for images that are given; examples have the run's size")
    trained = resized(trained, wishes.size)
  return Subject(arguments.workdir, trained, tuple(arguments.images), overrides, wishes)


def _look(subject: Subject, what: list[str], found: Found) -> None:
  from cnnlab.inspect import explaining, making, structure

  if subject.wishes.stage is not None and {*what} & {"activations", "grad_cam"}:
    _ = subject.stage  # is checked before anything is computed
  methods = {
    "filters": explaining.look_at_filters,
    "activations": explaining.look_at_activations,
    "class_maps": explaining.look_at_class_maps,
    "adversarial": explaining.attack,
    "lesions": structure.look_at_lesions,
    "feature_reuse": structure.look_at_feature_reuse,
    "units": making.look_at_units,
    "deconvolution": making.deconvolve,
    "deep_dream": making.dream,
    "class_model": making.model_classes,
    "style": making.transfer_style,
  }
  for name, method in methods.items():
    if name in what:
      method(subject, found)
  if attributions := [name for name in what if name in ATTRIBUTIONS]:
    explaining.attribute(subject, attributions, found)


def _write(found: Found, folder: Path) -> list[Path]:
  import io

  import numpy as np
  from PIL import Image

  from cnnlab.plot_style import save
  from cnnlab.runs.files import make_folder, write_bytes, write_text

  make_folder(folder)
  written = [
    save(figure, folder, name).with_suffix(".png") for name, figure in found.figures.items()
  ]
  for name, picture in found.pictures.items():
    buffer = io.BytesIO()
    Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture).save(buffer, "PNG")
    written.append(folder / f"{name}.png")
    write_bytes(written[-1], buffer.getvalue())
  for name, table in found.tables.items():
    written.append(folder / f"{name}.csv")
    write_text(written[-1], table.to_csv(index=False))
  for name, arrays in found.arrays.items():
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
    written.append(folder / f"{name}.npz")
    write_bytes(written[-1], buffer.getvalue())
  return written
