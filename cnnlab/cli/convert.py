"""Convert published or other weights to a run directory for `predict`, `eval` and further training.

  cnnlab convert --model=resnet50 --weights=resnet50.pth --out=runs/resnet50
  cnnlab convert --model=resnet18 --weights=resnet18.safetensors --out=runs/r18 --num_classes=10
  cnnlab convert --model=resnet20 --weights=resnet20.npz --mean=0.485,0.456,0.406 \
    --std=0.229,0.224,0.225 --config.model.shortcut_padding=both --out=runs/resnet20
  cnnlab convert --model=vgg19 --num_classes=0 --weights part1.npz part2.npz --names=names.txt \
    --channels=bgr --scale=255 --mean=103.939,116.779,123.68 --out=runs/vgg19

A .pth file is read without PyTorch; none of its code is run. Tensors have torchvision's names, or
those that a file of --names translates. Everything must fit; otherwise all that is missing, left over
or of another shape is listed.

Images are normalized by --mean, --std and --scale, which become part of the run; without them, as in
torchvision, for its models. With --num_classes=0 the run is an encoder, the convolutions alone:
`cnnlab codes`, `cnnlab look` and config.init_from take it. Use the result with `cnnlab predict --workdir=runs/resnet50 cat.jpg`, or
with `cnnlab train ... --config.init_from=runs/r18`. A model with 1000 classes gets the class names of
ImageNet, one for segmentation with 21 classes those of PASCAL VOC, a detector with 91 those of COCO;
other classes are numbered unless
--class_names names them. The keys of `model`, `dtype`, `data.name` and `data.dir` can be set.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cnnlab.types import Json

if TYPE_CHECKING:
  import numpy as np
  from flax import linen as nn
  from flax.typing import Collection
  from ml_collections import ConfigDict

TAKES_OVERRIDES = True
MOST_CLASSES, MOST_SIZE = 1_000_000, 10_000
KEYS = ("model.", "dtype", "data.name", "data.dir", "imports")
OWN_KEYS = ("model.name", "model.num_classes", "model.dtype")  # set by --model, ...
# Data set, feature and kind of what the published weights were trained to predict, by task.
TARGETS = {
  "classification": ("tfds:imagenet2012", "label", "label"),
  "segmentation": ("pairs:voc2012", "labels", "label_map"),
  "detection": ("coco:coco2017", "box_labels", "vector"),
}


class Input(NamedTuple):
  """What the network takes.

  Attributes:
    side: of the input in pixels.
    resize: short side of an image before the crop, in pixels.
    mean, scale: float32 [channels]; inputs are (x - mean) / scale for x in 0..255.
  """

  side: int
  resize: int
  mean: np.ndarray
  scale: np.ndarray

  @property
  def shape(self) -> tuple[int, int, int]:
    """Height, width and channels."""
    return self.side, self.side, len(self.mean)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  add = parser.add_argument
  add("--model", required=True, metavar="NAME", help="name of the model")
  add(
    "--weights",
    required=True,
    nargs="+",
    metavar="FILE",
    help="a .pth, .pt, .safetensors or .npz file, or several that hold a part each",
  )
  add("--out", required=True, metavar="DIR", help="the run directory to create")
  add("--names", metavar="FILE", help="lines `THEIRS = OURS`, see docs/weights.md")
  add(
    "--layout",
    default="auto",
    metavar="ORDER",
    help="of kernels: channels_first (PyTorch), channels_last (Keras, JAX), auto: the one that fits",
  )
  add("--mean", metavar="R,G,B", help="subtracted from pixels; in the order of --channels")
  add("--std", metavar="R,G,B", help="what they are divided by afterwards (default: 1)")
  add(
    "--scale",
    type=float,
    metavar="MAX",
    help="the largest value of a pixel, in whose units mean and std are: 1 (default) or 255",
  )
  add(
    "--channels",
    default="rgb",
    metavar="ORDER",
    help="rgb or bgr: the order that the weights were trained with; the run takes RGB",
  )
  add(
    "--num_classes",
    type=int,
    metavar="N",
    help="number of classes; if it is not that of the file, the classifier is initialized anew; 0: "
    "none, an encoder",
  )
  add("--class_names", metavar="FILE", help="a text file with a name in each line, in order")
  add(
    "--image_size",
    type=int,
    metavar="S",
    help="side of the input in pixels (default: the model's published one)",
  )
  add(
    "--resize",
    type=int,
    metavar="S",
    help="short side before the crop, in pixels (default: 8/7 of the input for ImageNet's, else 1)",
  )


def run(arguments: argparse.Namespace) -> int:
  """Converts the weights; returns the exit code."""
  from cnnlab.config import apply_overrides, parse_overrides
  from cnnlab.defaults import default_config
  from cnnlab.errors import ConfigError, printable
  from cnnlab.models.registry import output_of
  from cnnlab.runs.files import new_folder
  from cnnlab.weights import from_tensors, read_mapping, read_parts, renamed

  out = new_folder("--out", arguments.out)
  overrides = parse_overrides(arguments.overrides, default_config())
  for key in overrides:
    if not key.startswith(KEYS) or key in OWN_KEYS:
      raise ConfigError(
        f"config key {key!r} has no effect on a conversion; allowed: dtype, data.name, data.dir, "
        "and model.* but for what --model, --num_classes and dtype set"
      )
  config = apply_overrides(default_config(), overrides)
  config.model.name = arguments.model
  taken = _input(arguments)
  tensors = read_parts(arguments.weights)
  if arguments.names is not None:
    tensors = renamed(tensors, read_mapping(arguments.names))
  options = {"dtype": config.dtype, **config.model}
  del options["name"]
  if (classes := _in_range("--num_classes", arguments.num_classes, 0, MOST_CLASSES)) is not None:
    if not classes and output_of(arguments.model) != "classification":
      raise ConfigError("--num_classes is 0, which is for classifiers; allowed: 1 and more")
    options["num_classes"] = classes
  model, variables = from_tensors(
    arguments.model, tensors, taken.shape, layout=arguments.layout, **options
  )
  if arguments.channels == "bgr":
    variables, taken = _with_rgb(variables, taken)
  resolved = _config(arguments, config, model, taken)
  print(printable(f"{arguments.model}: {write_run(out, resolved, variables, taken)}"))
  return 0


def _in_range(name: str, given: int | None, least: int, most: int) -> int | None:
  from cnnlab.errors import ConfigError

  if given is not None and not least <= given <= most:
    raise ConfigError(f"{name} is {given}; allowed: {least} to {most}")
  return given


def _input(arguments: argparse.Namespace) -> Input:
  """Returns sizes and statistics; ConfigError where they are wrong, or unknown."""
  import numpy as np

  from cnnlab.errors import ConfigError, unknown
  from cnnlab.inspect.catalogue import IMAGENET, image_shape
  from cnnlab.models.registry import output_of
  from cnnlab.weights import TORCHVISION, input_normalization

  name = arguments.model
  if (output := output_of(name)) not in TARGETS:
    raise ConfigError(f"--model={name} is a network for {output}; allowed: {' or '.join(TARGETS)}")
  if arguments.channels not in ("rgb", "bgr"):
    raise ConfigError(unknown("value of --channels", arguments.channels, ("rgb", "bgr")))
  published = image_shape(name)
  side = _in_range("--image_size", arguments.image_size, 1, MOST_SIZE) or published[0]
  # As torchvision evaluates its classifiers.
  usual = side * 256 // 224 if published == IMAGENET and output == "classification" else side
  resize = _in_range("--resize", arguments.resize, side, 2 * MOST_SIZE) or usual
  if arguments.mean is arguments.std is arguments.scale is None:
    if name not in TORCHVISION:
      raise ConfigError(
        f"--mean, --std and --scale: one is needed, since torchvision has no weights of {name!r}; "
        "pixels are divided by 255 / scale, then centered by mean and divided by std"
      )
    mean, scale = (np.asarray(v, np.float32) for v in input_normalization(name))
    return Input(side, resize, mean, scale)
  largest = 1.0 if arguments.scale is None else arguments.scale
  if not 1 <= largest <= 255:
    raise ConfigError(f"--scale is {largest:g}; allowed: 1 (pixels from 0 to 1) to 255")
  mean = _numbers("--mean", arguments.mean, 0.0, published[2])
  std = _numbers("--std", arguments.std, 1.0, published[2])
  if not (std > 0).all():
    raise ConfigError(f"--std is {arguments.std}; allowed: numbers over 0")
  unit = 255 / largest
  return Input(side, resize, (mean * unit).astype(np.float32), (std * unit).astype(np.float32))


def _numbers(name: str, text: str | None, default: float, channels: int) -> np.ndarray:
  """Returns a number for each channel, float64."""
  import numpy as np

  from cnnlab.errors import ConfigError

  try:
    numbers = np.array([float(part) for part in text.split(",")] if text is not None else [default])
    if not np.isfinite(numbers).all():
      raise ValueError
    return np.broadcast_to(numbers, channels)
  except ValueError:
    raise ConfigError(
      f"{name} is {text!r}; allowed: one number, or {channels} with commas"
    ) from None


def _with_rgb(
  variables: dict[str, Collection], taken: Input
) -> tuple[dict[str, Collection], Input]:
  """Returns the same function of RGB images: the kernel over the image and statistics reversed.

  Raises:
    ConfigError: which kernel that is cannot be told.
  """
  from flax import traverse_util

  from cnnlab.errors import ConfigError

  flat = traverse_util.flatten_dict(variables)
  first = [p for p, a in flat.items() if p[-1] == "kernel" and a.ndim == 4 and a.shape[2] == 3]
  if len(first) != 1 or len(taken.mean) != 3:
    raise ConfigError(
      f"--channels=bgr: {len(first)} kernels of this model are convolutions over three channels, not one"
    )
  flat[first[0]] = flat[first[0]][:, :, ::-1]
  mean, scale = taken.mean[::-1], taken.scale[::-1]
  return traverse_util.unflatten_dict(flat), taken._replace(mean=mean, scale=scale)


def write_run(out: Path, config: Json, variables: dict[str, Collection], taken: Input) -> Path:
  """Writes config, status and a checkpoint of step 0; returns the run directory.

  Args:
    out: the directory.
    config: resolved.
    variables: of the network.
    taken: what it takes.

  Raises:
    RunError: the directory holds other files.
  """
  import numpy as np

  from cnnlab.data import Preprocess
  from cnnlab.runs.checkpoint import Checkpoints
  from cnnlab.runs.directory import RunDirectory, write_json
  from cnnlab.runs.environment import describe_environment

  preprocess = Preprocess(
    mean=taken.mean,
    scale=taken.scale,
    stored_size=(taken.resize, taken.resize),
    image_size=(taken.side, taken.side),
  )
  state = {"step": np.int32(0), "params": variables["params"], "opt_state": {}, "ema": {}}
  state["model_state"] = {key: tree for key, tree in variables.items() if key != "params"}
  about = {"step": 0, "config": config, "metrics": {}, "preprocess": preprocess.settings()}
  directory = RunDirectory(out, config)
  try:
    write_json(directory.path / "environment.json", describe_environment())
    checkpoints = Checkpoints(directory.path)
    checkpoints.save(0, state, about, preprocess.arrays())
    checkpoints.wait()
    checkpoints.close()
    directory.set_status("done", step=0, total_steps=0, seconds=0.0, metrics={"step": 0})
    return directory.path
  finally:
    directory.close()


def _config(
  arguments: argparse.Namespace, config: ConfigDict, model: nn.Module, taken: Input
) -> Json:
  """Returns the resolved config of the run, with the derived values."""
  from ml_collections import ConfigDict

  from cnnlab import imports
  from cnnlab.config import to_plain
  from cnnlab.defaults import default_config
  from cnnlab.models.registry import output_of
  from cnnlab.tasks import SavedFeature, create_task
  from cnnlab.train.setup import about_task, measure_model

  output = output_of(arguments.model)
  if config.task.name != output:
    config.task = ConfigDict({"name": output})
  source, target, kind = TARGETS[output]
  # A detector's class 0 is background.
  names = _class_names(arguments, int(model.num_classes) - (output == "detection"))
  if config.data.name == default_config().data.name:
    config.data.name = source
  config.data.image_size, config.data.resize = taken.side, taken.resize
  parameters, cost = measure_model(model, taken.shape)
  features = {"image": SavedFeature("image"), target: SavedFeature(kind, tuple(names))}
  if output == "detection":
    features["boxes"] = SavedFeature("boxes")
  derived = {
    "image_shape": list(taken.shape),
    "num_classes": len(names),
    "class_names": names,
    "features": {name: feature._asdict() for name, feature in features.items()},
    **about_task(create_task(config.task.to_dict(), features)),
    "parameters": parameters,
    "multiply_adds": cost,
    "total_steps": 0,
    "imports": imports.origins(config.imports),
    "weights": ", ".join(Path(file).name for file in arguments.weights),
  }
  return to_plain(config) | {"derived": derived}


def _class_names(arguments: argparse.Namespace, count: int) -> Sequence[str]:
  """Returns the names of the classes, by label."""
  from cnnlab.errors import ConfigError
  from cnnlab.weights import class_names

  if arguments.class_names is None:
    return class_names(arguments.model, count)
  try:
    names = Path(arguments.class_names).read_text(encoding="utf-8").split("\n")
  except (OSError, UnicodeDecodeError) as error:
    raise ConfigError(f"--class_names: {arguments.class_names} cannot be read: {error}") from error
  names = [name.strip() for name in names if name.strip()]
  if len(names) != count or len({*names}) != count:
    raise ConfigError(
      f"--class_names: {arguments.class_names} has {len({*names})} different names in {len(names)} "
      f"lines; the model has {count} classes"
    )
  return names
