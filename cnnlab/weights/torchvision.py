"""Weights from elsewhere as variables of our models, by the rules in `families.py` or by path."""

from __future__ import annotations

import fnmatch
import logging
import os
import re
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.typing import Collection

from cnnlab.errors import ConfigError, unknown
from cnnlab.models import create_encoder, create_model, list_models
from cnnlab.models.registry import family_of
from cnnlab.types import OptionValue
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.layouts import Kernel, Layout, flattened_inputs, order_of
from cnnlab.weights.names import Family, ParameterPath, TensorSource, source_of
from cnnlab.weights.positions import POSITIONS, resizable, resized
from cnnlab.weights.reading import Tensors, WeightsError, read_tensors

log = logging.getLogger(__name__)

HEAD = "head"  # part of the path of every classifier, including auxiliary ones
TORCHVISION = (
  "alexnet", "deeplabv3_resnet50", "deeplabv3_resnet101", "densenet121", "densenet161",
  "densenet169", "densenet201", "fasterrcnn_resnet50_fpn", "fcn_resnet50", "fcn_resnet101",
  "googlenet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
  "resnext101_32x8d", "resnext101_64x4d", "retinanet_resnet50_fpn", "vgg11", "vgg11_bn", "vgg13",
  "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vit_b_16", "vit_b_32", "vit_l_16",
  "vit_l_32", "vit_h_14", "wide_resnet50_2", "wide_resnet101_2",
)  # fmt: skip
BY_PATH = Family()  # of models without rules
SHOWN = 8  # number of names in an error message


def from_torchvision(
  name: str,
  source: str | os.PathLike[str] | Tensors,
  *,
  image_size: int = 224,
  num_classes: int | None = None,
  new_head: bool | None = None,
  seed: int = 0,
  **options: OptionValue,
) -> tuple[nn.Module, dict[str, Collection]]:
  """Builds a model with torchvision's weights.

  Args:
    name: a model of a family that torchvision has, see `convertible_models`.
    source: as of `from_tensors`, under torchvision's names.
    image_size: side of the images in pixels; determines a ViT's position embedding.
    num_classes, new_head, seed, options: as of `from_tensors`.

  Returns:
    (model, variables): `model.apply(variables, x, train=False)` gives torchvision's outputs for
    images normalized as torchvision does; x is [batch, height, width, 3].

  Raises:
    WeightsError, ConfigError: as `from_tensors` does, or torchvision has no such model.
  """
  check_convertible(name)
  return from_tensors(
    name,
    source,
    (image_size, image_size, 3),
    num_classes=num_classes,
    new_head=new_head,
    seed=seed,
    **options,
  )


def from_tensors(
  name: str,
  source: str | os.PathLike[str] | Tensors,
  image_shape: tuple[int, int, int] = (224, 224, 3),
  *,
  num_classes: int | None = None,
  new_head: bool | None = None,
  layout: Layout = "auto",
  seed: int = 0,
  **options: OptionValue,
) -> tuple[nn.Module, dict[str, Collection]]:
  """Builds a model with the weights of a file.

  Args:
    name: of the model.
    source: a `.pth`, `.safetensors` or `.npz` file, or a mapping of names to arrays. Names are
      torchvision's where `families.py` has rules for the model, or paths here such as
      'conv1/kernel' or, as `cnnlab export` writes them, 'params.conv1.kernel'.
    image_shape: (height, width, channels). The file's position embedding is resized to it if both
      grids of patches are square.
    num_classes: number of outputs; default: the model's. If the file has another number, its
      classifier is dropped and a new one is initialized. 0 builds the encoder, up to the last map.
    new_head: True always drops the file's classifier; False never does.
    layout: of the kernels in the file, see `cnnlab.weights.layouts`; 'auto': the one that fits.
    seed: seed of a new classifier's weights.
    **options: options of the model, see `cnnlab.models.model_options`; they must keep its
      parameters, as `dtype`, `norm='frozen_batch'` or `output_stride` do.

  Returns:
    (model, variables).

  Raises:
    WeightsError: tensors are missing, left over or misshapen (all are named), the layout is
      ambiguous, or the file is unreadable.
    ConfigError: unknown model or option.
  """
  if num_classes:
    options["num_classes"] = num_classes
  model = (create_encoder if num_classes == 0 else create_model)(name, **options)
  family = FAMILIES[family_of(name)].of(model) if _is_convertible(name) else BY_PATH
  tensors = _canonical(read_tensors(source), family)
  image = jnp.zeros((1, *image_shape))
  rngs = {"params": jax.random.key(seed), "dropout": jax.random.key(seed)}

  def initial() -> dict[ParameterPath, jax.Array]:
    return traverse_util.flatten_dict(dict(model.init(rngs, image, train=False)))

  shapes = {path: leaf.shape for path, leaf in jax.eval_shape(initial).items()}
  places = {path: _place(family, path, tensors) for path in shapes}
  if family is BY_PATH:
    for path, channels in flattened_inputs(initial).items():
      places[path] = places[path]._replace(flattened=channels)
  if image_shape[0] == image_shape[1]:
    tensors |= _fitted_positions(shapes, places, tensors)
  fresh = _replaced_head(shapes, places, tensors, num_classes, new_head)
  found = _converted(name, shapes, places, tensors, fresh, family, layout)
  if fresh:
    # XLA removes the forward pass, since its result is not used.
    found |= jax.jit(lambda: {path: initial()[path] for path in fresh})()
  return model, traverse_util.unflatten_dict({path: found[path] for path in shapes})


def _place(family: Family, path: ParameterPath, tensors: Tensors) -> TensorSource:
  """Returns the tensor of a parameter, by its path or else by its family's rule.

  Raises:
    ConfigError: neither has it.
  """
  names = ("/".join(path[1:]), "/".join(path), ".".join(path))
  named = next((name for name in names if name in tensors), names[0])
  if named in tensors or family.rule is None:
    return TensorSource(named)
  return source_of(family, path)


def _fitted_positions(
  shapes: Mapping[ParameterPath, tuple[int, ...]],
  places: Mapping[ParameterPath, TensorSource],
  tensors: Tensors,
) -> dict[str, np.ndarray]:
  """Returns position embeddings of another number of patches, resized."""
  found = {}
  for path, shape in shapes.items():
    name = places[path].name
    if path[-1] == POSITIONS and name in tensors and resizable(tensors[name].shape, shape):
      log.info("%s: resized from %s to %s", name, tensors[name].shape, shape)
      found[name] = resized(tensors[name], shape)
  return found


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
    there = {path: tensors[p.name].shape for path in head if (p := places[path]).name in tensors}
    # Outputs are a kernel's first or last axis; those of a detector are several times the classes.
    fits = bool(there) and all(shapes[p][-1] in (*s[:1], *s[-1:]) for p, s in there.items())
    new_head = num_classes is not None and not fits
  return head if new_head else set()


def _converted(
  model: str,
  shapes: Mapping[ParameterPath, tuple[int, ...]],
  places: Mapping[ParameterPath, TensorSource],
  tensors: Tensors,
  fresh: set[ParameterPath],
  family: Family,
  layout: Layout,
) -> dict[ParameterPath, jax.Array]:
  """Returns the variables that the tensors give, except `fresh` ones; WeightsError if any is wrong."""
  present = [path for path in shapes if path not in fresh and places[path].name in tensors]
  kernels = {
    path: Kernel(tensors[places[path].name], shapes[path], places[path])
    for path in present
    if path[-1] == "kernel" and tensors[places[path].name].ndim >= 2
  }
  order = order_of(kernels.values(), layout)
  misshapen, found = [], {}
  for path in present:
    name, shape = places[path].name, shapes[path]
    array = kernels[path].ordered(order) if path in kernels else tensors[name]
    if array.shape == shape:
      found[path] = jnp.asarray(array, jnp.float32)
    else:
      ours = "x".join(map(str, shape)) or "a number"
      misshapen.append(f"{name} {tuple(tensors[name].shape)} for {ours}")
  known = {place.name for place in places.values()}
  missing = [places[path].name for path in shapes if path not in fresh and path not in present]
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
