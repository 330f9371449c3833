"""The inverse of `from_torchvision`: a network's variables under torchvision's names and layouts."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.typing import Collection

from cnnlab.models.registry import family_of
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names import TensorSource, source_of
from cnnlab.weights.torchvision import check_convertible


def to_torchvision(
  name: str, model: nn.Module, variables: Mapping[str, Collection]
) -> dict[str, np.ndarray]:
  """Returns {torchvision's name: array in its layout}, which its model's `load_state_dict` takes.

  Args:
    name: of the model, see `convertible_models`.
    model, variables: the network; all its variables are taken.

  Raises:
    ConfigError: torchvision has no such model, or not this variant of it.
  """
  check_convertible(name)
  family = FAMILIES[family_of(name)].of(model)
  tensors = {}
  for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
    place = source_of(family, path)
    tensors[place.name] = np.ascontiguousarray(_in_their_layout(np.asarray(leaf), place))
  return tensors


def _in_their_layout(array: np.ndarray, place: TensorSource) -> np.ndarray:
  """Returns a kernel [..., in, out] as [out, in, ...]; other tensors are unchanged.

  The inputs of a fully connected layer over a flattened [H,W,C] map are reordered to [C,H,W].
  """
  if not place.name.endswith("weight") or array.ndim < 2:
    return array
  if array.ndim == 4:
    return array.transpose(3, 2, 0, 1)
  if place.flattened:
    maps = array.reshape(-1, place.flattened, array.shape[-1])
    return maps.transpose(2, 1, 0).reshape(array.shape[-1], -1)
  return array.T
