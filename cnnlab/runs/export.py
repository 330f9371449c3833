"""Trained networks in files that are used without cnnlab: safetensors, StableHLO and ONNX.

A `.safetensors` file holds the variables alone. The other two hold a whole program from stored
images to predictions, preprocessing included: uint8 [batch, height, width, channels] of any batch
size in, what the task predicts out, such as {'probabilities': float32 [batch, classes]}. Their
images must have the size that `about` states.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from jax import Array
from jax import export as jax_export

from cnnlab import native
from cnnlab.errors import CnnlabError, ConfigError, unknown
from cnnlab.runs.files import make_folder, present, write_bytes
from cnnlab.runs.trained import Trained
from cnnlab.types import Json

Format = Literal["safetensors", "stablehlo", "onnx"]
Names = Literal["cnnlab", "torchvision"]
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")


class ExportError(CnnlabError):
  """A network that cannot be exported as asked."""


def export(
  trained: Trained, file: str | os.PathLike[str], kind: Format = "safetensors",
  names: Names = "cnnlab",
) -> Path:  # fmt: skip
  """Writes a trained network to a new file, and returns its path.

  Args:
    trained: the network, such as `cnnlab.runs.load("runs/x").trained`.
    file: must not exist.
    kind: 'safetensors' (variables), 'stablehlo' (`jax.export`) or 'onnx' (needs `cnnlab[onnx]`).
    names: of the variables in a .safetensors file: 'cnnlab', such as `params.conv1.kernel`, or
      'torchvision', with its layouts.

  Raises:
    ConfigError: an unknown format, or torchvision has no such network.
    ExportError: the file exists, or the network cannot be expressed in the format.
    RunError: the file cannot be written.
  """
  writers: dict[str, Callable[[], bytes]] = {
    "safetensors": lambda: _safetensors(trained, names),
    "stablehlo": lambda: _stablehlo(trained),
    "onnx": lambda: _onnx(trained),
  }
  if kind not in writers:
    raise ConfigError(unknown("format", kind, get_args(Format)))
  if names not in get_args(Names):
    raise ConfigError(unknown("names", names, get_args(Names)))
  if names != "cnnlab" and kind != "safetensors":
    raise ConfigError(f"names={names!r} is for safetensors; a program of {kind} has no such names")
  path = Path(file)
  if present(path):
    raise ExportError(f"{path} exists; name a new file")
  content = writers[kind]()
  make_folder(path.absolute().parent)
  write_bytes(path, content)
  return path


def about(trained: Trained) -> Json:
  """Returns what a user of the exported network must know: its input, its output and its classes."""
  shape = trained.stored_shape
  out = jax.eval_shape(
    trained.outputs, trained.variables, jax.ShapeDtypeStruct((1, *shape), jnp.uint8)
  )
  features = trained.config["derived"].get("features", {}).values()
  return {
    "model": trained.config["model"],
    "input": {"dtype": "uint8", "shape": ["batch", *shape], "layout": "NHWC"},
    "outputs": {
      name: {"dtype": str(leaf.dtype), "shape": ["batch", *leaf.shape[1:]]}
      for name, leaf in out.items()
    },
    "class_names": next((list(f["names"]) for f in features if f["names"]), []),
  }


def flat_variables(trained: Trained) -> dict[str, np.ndarray]:
  """Returns {path with dots, such as 'params.conv1.kernel': array}."""
  flat = traverse_util.flatten_dict(dict(trained.variables), sep=".")
  return {name: np.ascontiguousarray(leaf) for name, leaf in flat.items()}


def read_variables(file: str | os.PathLike[str]) -> dict:
  """Returns the variables of a .safetensors file that was exported with names='cnnlab'.

  Raises:
    WeightsError: the file is missing or unreadable.
  """
  from cnnlab.weights import read_tensors

  return traverse_util.unflatten_dict(read_tensors(file), sep=".")


def _safetensors(trained: Trained, names: Names) -> bytes:
  from safetensors.numpy import save

  from cnnlab.weights.to_torchvision import to_torchvision

  if names == "torchvision":
    tensors = to_torchvision(trained.config["model"]["name"], trained.model, trained.variables)
  else:
    tensors = flat_variables(trained)
  told = about(trained) | {"preprocess": trained.preprocess.settings()}
  told["preprocess"] |= {k: np.asarray(v).tolist() for k, v in trained.preprocess.arrays().items()}
  return save(tensors, {"cnnlab": json.dumps(told)})


def _program(trained: Trained) -> tuple[Callable[[Array], dict[str, Array]], jax.ShapeDtypeStruct]:
  """Returns the function from stored images to predictions, and the shape that it takes."""
  (batch,) = jax_export.symbolic_shape("batch")
  images = jax.ShapeDtypeStruct((batch, *trained.stored_shape), jnp.uint8)
  return lambda images: trained.outputs(trained.variables, images), images


def _stablehlo(trained: Trained) -> bytes:
  forward, images = _program(trained)
  with native.disabled():
    try:
      exported = jax_export.export(jax.jit(forward), platforms=PLATFORMS)(images)
    # What a network does with its shapes need not hold for every batch.
    except (TypeError, ValueError, NotImplementedError) as error:
      raise ExportError(f"the network cannot be exported as StableHLO: {error}") from error
  return bytes(exported.serialize())


def _onnx(trained: Trained) -> bytes:
  try:
    from jax2onnx import to_onnx
  except ImportError as error:
    raise ExportError(f"ONNX needs jax2onnx ({error}): pip install 'cnnlab[onnx]'") from error
  forward, images = _program(trained)
  logging.getLogger("onnx_ir").setLevel(logging.ERROR)  # it warns of shapes that nobody needs
  with native.disabled():
    names = sorted(jax.eval_shape(forward, images))  # JAX sorts the keys of a dict
    try:
      model = to_onnx(forward, inputs=[images], input_names=["images"], output_names=names)
      return model.SerializeToString()
    except (TypeError, ValueError, NotImplementedError) as error:
      raise ExportError(f"the network cannot be exported as ONNX: {error}") from error
