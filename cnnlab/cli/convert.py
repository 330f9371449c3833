"""Convert torchvision's weights to a run directory for `predict`, `eval` and further training.

  cnnlab convert --model resnet50 --weights resnet50.pth --out runs/resnet50
  cnnlab convert --model resnet18 --weights resnet18.safetensors --out runs/r18 --num_classes 10

Use the result with `cnnlab predict --workdir runs/resnet50 cat.jpg`, or with
`cnnlab train ... --config.init_from runs/r18`. Images are resized, cropped and normalized as in
torchvision. A model with 1000 classes uses the class names of ImageNet, one for segmentation with
21 classes those of PASCAL VOC.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from cnnlab.types import Json, PyTree

MOST_CLASSES, MOST_SIZE = 1_000_000, 10_000
# Data set, feature and kind of what the published weights were trained to predict, by task.
TARGETS = {
  "classification": ("tfds:imagenet2012", "label", "label"),
  "segmentation": ("pairs:voc2012", "labels", "label_map"),
}

if TYPE_CHECKING:
  from flax import linen as nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument(
    "--model", required=True, metavar="NAME", help="torchvision's name of the model"
  )
  parser.add_argument(
    "--weights", required=True, metavar="FILE", help="a .pth, .pt or .safetensors file"
  )
  parser.add_argument("--out", required=True, metavar="DIR", help="the run directory to create")
  parser.add_argument(
    "--num_classes",
    type=int,
    metavar="N",
    help="number of classes; if it is not that of the file, the classifier is initialized anew",
  )
  parser.add_argument(
    "--image_size",
    type=int,
    metavar="S",
    help="side of the input in pixels (default: 224, for segmentation 520)",
  )
  parser.add_argument(
    "--resize",
    type=int,
    metavar="S",
    help="short side before the crop, in pixels (default: 8/7 of the input, for segmentation 1)",
  )


def run(arguments: argparse.Namespace) -> int:
  """Converts the weights; returns the exit code."""
  from cnnlab.errors import ConfigError, RunError, printable
  from cnnlab.models.registry import output_of
  from cnnlab.weights import from_torchvision

  out = Path(arguments.out)
  if out.exists() and not (out.is_dir() and not any(out.iterdir())):
    raise RunError(f"--out {arguments.out} already exists; name a new directory")
  dense = output_of(arguments.model) == "segmentation"
  size = arguments.image_size or (520 if dense else 224)
  resize = arguments.resize or (size if dense else size * 256 // 224)
  for name, given, least, most in (
    ("--num_classes", arguments.num_classes, 1, MOST_CLASSES),
    ("--image_size", arguments.image_size, 1, MOST_SIZE),
    ("--resize", arguments.resize, size, 2 * MOST_SIZE),
  ):
    if given is not None and not least <= given <= most:
      raise ConfigError(f"{name} is {given}; allowed: {least} to {most}")
  model, variables = from_torchvision(
    arguments.model, arguments.weights, num_classes=arguments.num_classes, image_size=size
  )
  directory = write_run(arguments, model, variables, (size, resize))
  print(printable(f"{arguments.model}: {directory}"))
  return 0


def write_run(
  arguments: argparse.Namespace,
  model: nn.Module,
  variables: dict[str, PyTree],
  sizes: tuple[int, int],
) -> Path:
  """Writes config, status and a checkpoint of step 0; returns the run directory.

  Args:
    arguments: the arguments of the verb.
    model: the network.
    variables: its variables.
    sizes: (side of the network's input, short side of an image before the crop), in pixels.

  Raises:
    RunError: the directory holds other files.
  """
  import numpy as np

  from cnnlab.data import Preprocess
  from cnnlab.runs.checkpoint import Checkpoints
  from cnnlab.runs.directory import RunDirectory, write_json
  from cnnlab.runs.environment import describe_environment
  from cnnlab.weights import input_normalization

  image_size, resize = sizes
  mean, scale = (np.asarray(v, np.float32) for v in input_normalization(arguments.model))
  preprocess = Preprocess(
    mean=mean,
    scale=scale,
    stored_size=(resize, resize),
    image_size=(image_size, image_size),
  )
  config = _config(arguments, model, sizes)
  state = {"step": np.int32(0), "params": variables["params"], "opt_state": {}, "ema": {}}
  state["model_state"] = {key: tree for key, tree in variables.items() if key != "params"}
  about = {"step": 0, "config": config, "metrics": {}, "preprocess": preprocess.settings()}
  directory = RunDirectory(arguments.out, config)
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


def _config(arguments: argparse.Namespace, model: nn.Module, sizes: tuple[int, int]) -> Json:
  """Returns the resolved config of the run, with the derived values."""
  from ml_collections import ConfigDict

  from cnnlab.config import to_plain
  from cnnlab.defaults import default_config
  from cnnlab.models.registry import output_of
  from cnnlab.tasks import SavedFeature, create_task
  from cnnlab.train.setup import about_task, measure_model
  from cnnlab.weights import class_names

  config = default_config()
  config.model.name = arguments.model
  output = output_of(arguments.model)
  if config.task.name != output:
    config.task = ConfigDict({"name": output})
  config.data.name, target, kind = TARGETS[output]
  config.data.image_size, config.data.resize = sizes
  shape = (sizes[0], sizes[0], 3)
  parameters, cost = measure_model(model, shape)
  count = int(model.num_classes)
  names = class_names(arguments.model, count)
  features = {"image": SavedFeature("image"), target: SavedFeature(kind, tuple(names))}
  derived = {
    "image_shape": list(shape),
    "num_classes": count,
    "class_names": names,
    "features": {name: feature._asdict() for name, feature in features.items()},
    **about_task(create_task(config.task.to_dict(), features)),
    "parameters": parameters,
    "multiply_adds": cost,
    "total_steps": 0,
    "weights": Path(arguments.weights).name,
  }
  return to_plain(config) | {"derived": derived}
