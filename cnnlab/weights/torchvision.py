"""Conversion of torchvision's weights by the rules in `families.py`."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.typing import Collection

from cnnlab.errors import CnnlabError, ConfigError, unknown
from cnnlab.models import create_model, list_models
from cnnlab.models.registry import family_of
from cnnlab.types import OptionValue
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names import Family, ParameterPath, TensorSource, source_of
from cnnlab.weights.pth import PthError, read_pth

Tensors = Mapping[str, Any]
HEAD = "head"  # part of the path of every classifier, including auxiliary ones
TORCHVISION = (
  "alexnet", "deeplabv3_resnet50", "deeplabv3_resnet101", "densenet121", "densenet161",
  "densenet169", "densenet201", "fcn_resnet50", "fcn_resnet101", "googlenet", "resnet18",
  "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
  "resnext101_64x4d", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19",
  "vgg19_bn", "vit_b_16", "vit_b_32", "vit_l_16", "vit_l_32", "vit_h_14", "wide_resnet50_2",
  "wide_resnet101_2",
)  # fmt: skip
SHOWN = 8  # number of names in an error message


class WeightsError(CnnlabError):
  """Weights that do not fit the model: tensors are missing, left over or of another shape."""


def from_torchvision(
  name: str,
  source: str | os.PathLike[str] | Tensors,
  *,
  num_classes: int | None = None,
  new_head: bool | None = None,
  image_size: int = 224,
  seed: int = 0,
  **options: OptionValue,
) -> tuple[nn.Module, dict[str, Collection]]:
  """Builds a model with torchvision's weights.

  Args:
    name: a model of a family that torchvision has, see `convertible_models`.
    source: a `.pth` file, a `.safetensors` file, or a mapping of torchvision's names to arrays.
    num_classes: number of outputs; default: the model's. If the file has another number, its
      classifier is dropped and a new one is initialized.
    new_head: True always drops the file's classifier; False never does.
    image_size: side of the images in pixels; determines a ViT's position embedding.
    seed: seed of a new classifier's weights.
    **options: options of the model, see `cnnlab.models.model_options`; they must keep its
      parameters, as `dtype`, `norm='frozen_batch'` or `output_stride` do.

  Returns:
    (model, variables): `model.apply(variables, x, train=False)` gives torchvision's outputs for
    images normalized as torchvision does; x is [batch, height, width, 3].

  Raises:
    WeightsError: tensors are missing, left over or misshapen (all are named), or the file is
      unreadable.
    ConfigError: unknown model, family or option.
  """
  if num_classes is not None:
    options["num_classes"] = num_classes
  check_convertible(name)
  model = create_model(name, **options)
  family = FAMILIES[family_of(name)].of(model)
  tensors = _canonical(read_tensors(source), family)
  image = jnp.zeros((1, image_size, image_size, 3))
  rngs = {"params": jax.random.key(seed), "dropout": jax.random.key(seed)}

  def initial() -> dict[ParameterPath, jax.Array]:
    return traverse_util.flatten_dict(dict(model.init(rngs, image, train=False)))

  shapes = {path: leaf.shape for path, leaf in jax.eval_shape(initial).items()}
  places = {path: source_of(family, path) for path in shapes}
  fresh = _replaced_head(shapes, places, tensors, num_classes, new_head)
  found = _converted(name, shapes, places, tensors, fresh, family)
  if fresh:
    # XLA removes the forward pass, since its result is not used.
    found |= jax.jit(lambda: {path: initial()[path] for path in fresh})()
  return model, traverse_util.unflatten_dict({path: found[path] for path in shapes})


def convertible_models() -> list[str]:
  """Returns the names of the models whose families have a rule."""
  return [name for name in list_models() if _is_convertible(name)]


def check_convertible(name: str) -> None:
  """Checks that the weights of a model follow torchvision's names.

  Raises:
    ConfigError: they do not; torchvision's models are named.
  """
  if name not in convertible_models():
    raise ConfigError(unknown("model of torchvision's", name, TORCHVISION))


def _is_convertible(name: str) -> bool:
  family = FAMILIES.get(family_of(name))
  return family is not None and fnmatch.fnmatch(name, family.models)


def read_tensors(source: str | os.PathLike[str] | Tensors) -> dict[str, np.ndarray]:
  """Returns {name: array} of a `.pth` or `.safetensors` file or of a mapping of names to arrays.

  A `.pth` file is read without PyTorch, and its code is not run.

  Raises:
    WeightsError: the file is missing, unreadable or of an unknown type.
  """
  if isinstance(source, Mapping):
    return {str(key): _array(value) for key, value in source.items()}
  path = os.fspath(source)
  if not os.path.isfile(path):
    raise WeightsError(f"weights file {path!r} does not exist")
  if path.endswith(".safetensors"):
    return _read_safetensors(path)
  if path.endswith((".pth", ".pt")):
    return _read_pth(path)
  raise WeightsError(f"weights file {path!r} must end with .pth, .pt or .safetensors")


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
  from safetensors import SafetensorError, safe_open

  try:
    # Flax's reader, unlike NumPy's, supports bfloat16.
    with safe_open(path, framework="flax") as file:
      return {key: _array(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
  except (SafetensorError, OSError, ValueError, KeyError, TypeError, MemoryError) as error:
    raise WeightsError(f"weights file {path!r} cannot be read: {error}") from error


def _read_pth(path: str) -> dict[str, np.ndarray]:
  try:
    tensors = read_pth(path)
  except (PthError, OSError) as error:
    raise WeightsError(f"weights file {path!r} cannot be read: {error}") from error
  return {key.removeprefix("module."): _array(value) for key, value in tensors.items()}


def _array(value: Any) -> np.ndarray:
  if hasattr(value, "detach"):  # a PyTorch tensor; NumPy has no bfloat16
    value = value.detach().cpu()
    value = value.float().numpy() if value.is_floating_point() else value.numpy()
  return np.asarray(value)


def _canonical(tensors: Tensors, family: Family) -> dict[str, np.ndarray]:
  """Returns the tensors that are weights, under the names of torchvision's current code."""
  kept = {}
  for name, array in tensors.items():
    for pattern, replacement in family.renamed:
      name = re.sub(pattern, replacement, name)
    if not name.endswith("num_batches_tracked"):
      kept[name] = array
  return kept


def _replaced_head(
  shapes: Mapping[ParameterPath, tuple[int, ...]],
  places: Mapping[ParameterPath, TensorSource],
  tensors: Tensors,
  num_classes: int | None,
  new_head: bool | None,
) -> set[ParameterPath]:
  """Returns the classifier's paths if it is to be reinitialized, else an empty set."""
  head = {path for path in shapes if HEAD in path}
  if new_head is None:
    outputs = {
      tensors[places[path].name].shape[:1] for path in head if places[path].name in tensors
    }
    new_head = num_classes is not None and outputs != {(num_classes,)}
  return head if new_head else set()


def _converted(
  model: str,
  shapes: Mapping[ParameterPath, tuple[int, ...]],
  places: Mapping[ParameterPath, TensorSource],
  tensors: Tensors,
  fresh: set[ParameterPath],
  family: Family,
) -> dict[ParameterPath, jax.Array]:
  """Returns the variables that the tensors give, except `fresh` ones; WeightsError if any is wrong."""
  known = {place.name for place in places.values()}
  missing, misshapen, found = [], [], {}
  for path, shape in shapes.items():
    place = places[path]
    if path in fresh:
      continue
    if place.name not in tensors:
      missing.append(place.name)
      continue
    array = _in_our_layout(tensors[place.name], shape, place)
    if array.shape == shape:
      found[path] = jnp.asarray(array, jnp.float32)
    else:
      ours = "x".join(map(str, shape)) or "a number"
      misshapen.append(f"{place.name} {tuple(tensors[place.name].shape)} for {ours}")
  surplus = [n for n in tensors if n not in known and not n.startswith(family.spare)]
  wrong = {"missing": missing, "left over": surplus, "of another shape": misshapen}
  if any(wrong.values()):
    raise WeightsError(
      _complaint(model, wrong, [places[path].name for path in shapes if HEAD in path])
    )
  return found


def _complaint(model: str, wrong: Mapping[str, list[str]], head: list[str]) -> str:
  parts = []
  for what, which in wrong.items():
    if which:
      more = f" and {len(which) - SHOWN} more" if len(which) > SHOWN else ""
      parts.append(f"{len(which)} {what}: {', '.join(sorted(which)[:SHOWN])}{more}")
  message = f"the weights do not fit model {model!r}: {'; '.join(parts)}"
  only_head = [name.split(" ")[0] for which in wrong.values() for name in which]
  if set(only_head) <= set(head):
    message += (
      "; only its classifier does not fit: pass num_classes, or new_head=True for a new one"
    )
  return message


def _in_our_layout(array: np.ndarray, shape: tuple[int, ...], place: TensorSource) -> np.ndarray:
  """Returns a kernel [out, in, ...] as [..., in, out]; other tensors are unchanged.

  The inputs of a fully connected layer over a flattened [C,H,W] map are reordered to [H,W,C]. If
  the model has a convolution over the whole map instead, the kernel gets its shape.
  """
  if not place.name.endswith("weight") or array.ndim < 2:
    return array
  if array.ndim == 4:
    return array.transpose(2, 3, 1, 0)
  if array.ndim == 2 and len(shape) == 4:
    height, width, channels, out = shape
    if array.size != height * width * channels * out:
      return array.T
    return array.reshape(out, channels, height, width).transpose(2, 3, 1, 0)
  if place.flattened and array.shape[1] % place.flattened == 0:
    maps = array.reshape(array.shape[0], place.flattened, -1)
    return maps.transpose(2, 1, 0).reshape(-1, array.shape[0])
  return array.T
