"""Turn torchvision's weights into a run directory that `predict`, `eval` and training start from.

  cnnlab convert --model resnet50 --weights resnet50.pth --out runs/resnet50
  cnnlab convert --model resnet18 --weights resnet18.safetensors --out runs/r18 --num_classes 10

Then `cnnlab predict --workdir runs/resnet50 cat.jpg`, or `cnnlab train ... --config.init_from
runs/r18`. Images are resized, cropped and normalised as torchvision does it; a model that keeps
1000 classes has ImageNet's names for them.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the verb's arguments."""
  parser.add_argument("--model", required=True, metavar="NAME", help="torchvision's name of it")
  parser.add_argument(
    "--weights", required=True, metavar="FILE", help="a .pth, .pt or .safetensors file"
  )
  parser.add_argument("--out", required=True, metavar="DIR", help="the run directory to make")
  parser.add_argument(
    "--num_classes",
    type=int,
    metavar="N",
    help="classes; if the file has another number, with a new classifier",
  )
  parser.add_argument(
    "--image_size", type=int, default=224, metavar="S", help="side of the input (default 224)"
  )
  parser.add_argument(
    "--resize", type=int, metavar="S", help="short side before the crop (default: 8/7 of the input)"
  )


def run(arguments: argparse.Namespace) -> int:
  """Converts; returns the exit code."""
  from cnnlab.errors import RunError
  from cnnlab.weights import from_torchvision

  out = Path(arguments.out)
  if out.exists() and not (out.is_dir() and not any(out.iterdir())):
    raise RunError(f"--out {arguments.out}: exists already; name a directory that is to be made")
  size = arguments.image_size
  model, variables = from_torchvision(
    arguments.model, arguments.weights, num_classes=arguments.num_classes, image_size=size
  )
  resize = arguments.resize or size * 256 // 224
  directory = write_run(arguments, model, variables, (size, resize))
  print(f"{arguments.model}: {directory}")
  return 0


def write_run(
  arguments: argparse.Namespace, model: Any, variables: dict[str, Any], sizes: tuple[int, int]
) -> Path:
  """Writes config, status and a checkpoint of step 0; returns the run directory.

  Args:
    arguments: the verb's.
    model: the network.
    variables: its weights.
    sizes: (side of the network's input, short side of an image before it is cropped).

  Raises:
    RunError: the directory holds something else.
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


def _config(arguments: argparse.Namespace, model: Any, sizes: tuple[int, int]) -> dict[str, Any]:
  """Returns the resolved config of the run: the defaults, the model, ImageNet, what follows."""
  from cnnlab.config import to_plain
  from cnnlab.defaults import default_config
  from cnnlab.tasks import Classification
  from cnnlab.train.setup import about_task, measure_model
  from cnnlab.weights import imagenet_classes

  config = default_config()
  config.model.name = arguments.model
  config.data.name = "tfds:imagenet2012"
  config.data.image_size, config.data.resize = sizes
  shape = (sizes[0], sizes[0], 3)
  parameters, cost = measure_model(model, shape)
  count = int(model.num_classes)
  names = imagenet_classes()
  names = names if count == len(names) else [f"class {i}" for i in range(count)]
  derived = {
    "image_shape": list(shape),
    "num_classes": count,
    "class_names": names,
    **about_task(Classification(tuple(names))),
    "parameters": parameters,
    "multiply_adds": cost,
    "total_steps": 0,
    "weights": Path(arguments.weights).name,
  }
  return to_plain(config) | {"derived": derived}
