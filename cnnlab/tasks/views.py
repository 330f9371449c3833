"""Several views of an image, whole or in crops: probabilities are averaged."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.models.sliding import log_mean_probability, slide
from cnnlab.tasks.base import Preprocessing

_LEAST = 1e-30  # probability whose logarithm is finite


def classify_views(
  model: nn.Module, variables: VariableDict, preprocess: Preprocessing, images: Array
) -> Array:
  """Returns the logarithm of the probabilities averaged over an image's views, as logits.

  All views of a batch go through the network at once.

  Args:
    model: the classifier.
    variables: the classifier's.
    preprocess: see `cnnlab.data.Preprocess`; its `eval_crops` is not 'center'.
    images: as stored, uint8 [batch, height, width, channels].

  Raises:
    ConfigError: the network does not return [batch, classes].
  """
  if preprocess.eval_crops == "whole" or preprocess.eval_scales != (1.0,):
    raise ConfigError(
      f"config keys 'data.eval_crops', {preprocess.eval_crops!r}, and 'data.eval_scales', "
      f"{preprocess.eval_scales}: 'whole' and other scales than 1 are for label maps; 'dense' is for "
      "classifiers"
    )
  views = preprocess.eval_views(images)
  flat = views.reshape(-1, *views.shape[2:])
  if preprocess.eval_crops == "dense":
    out = slide(model, (*preprocess.image_size, flat.shape[-1])).average(variables, flat)
  else:
    out = model.apply(variables, flat, train=False)[0]
  if out.ndim != 2:
    raise ConfigError(
      f"config key 'data.eval_crops' is {preprocess.eval_crops!r}, which is for classifiers; this "
      f"network returns {out.shape}: use 'center'"
    )
  return log_mean_probability(out.reshape(*views.shape[:2], -1), axis=0)


def segment_views(
  model: nn.Module, variables: VariableDict, preprocess: Preprocessing, images: Array
) -> Array:
  """Returns the logarithm of each pixel's probabilities, averaged over an image's views, as logits.

  The image is seen at each of `eval_scales`, whole or by the windows that `eval_crops` names, and
  mirrored where these are. Where windows overlap they are averaged; then the scales are.

  Args:
    model: returns logits for each pixel.
    variables: the model's.
    preprocess: see `cnnlab.data.Preprocess`.
    images: as stored, uint8 [batch, height, width, channels].

  Returns:
    float32 [batch, height, width, classes].
  """
  whole = preprocess.normalize(images)
  batch, height, width, channels = whole.shape
  total: Array | float = 0.0
  for scale in preprocess.eval_scales:
    size = _scaled((height, width), scale)
    scaled = jax.image.resize(whole, (batch, *size, channels), "bilinear")
    corners, window = preprocess.views.windows(size)
    mean = _mean_probability(
      model, variables, scaled, corners, window, mirrored=preprocess.views.mirrored
    )
    total += jax.image.resize(mean, (batch, height, width, mean.shape[-1]), "bilinear")
  return jnp.log(jnp.maximum(total / len(preprocess.eval_scales), _LEAST))


def _mean_probability(
  model: nn.Module,
  variables: VariableDict,
  images: Array,
  corners: list[tuple[int, int]],
  window: tuple[int, int],
  *,
  mirrored: bool,
) -> Array:
  """Returns each pixel's probabilities, averaged over the windows that see it."""
  height, width = window
  parts = [images[:, t : t + height, x : x + width] for t, x in corners]
  flat = jnp.concatenate(parts)
  if mirrored:
    flat = jnp.concatenate([flat, flat[:, :, ::-1]])
  found = jax.nn.softmax(model.apply(variables, flat, train=False)[0].astype(jnp.float32))
  if mirrored:
    own, other = jnp.split(found, 2)
    found = (own + other[:, :, ::-1]) / 2
  total = jnp.zeros((*images.shape[:3], found.shape[-1]))
  seen = np.zeros((*images.shape[1:3], 1))
  for part, (t, x) in zip(jnp.split(found, len(parts)), corners, strict=True):
    total = total.at[:, t : t + height, x : x + width].add(part)
    seen[t : t + height, x : x + width] += 1
  return total / seen


def require_cover(preprocess: Preprocessing) -> None:
  """Raises ConfigError where an evaluation by crops would leave pixels of an image unseen."""
  for scale in preprocess.eval_scales:
    size = _scaled(preprocess.stored_size, scale)
    corners, (height, width) = preprocess.views.windows(size)
    seen = np.zeros(size, bool)
    for top, left in corners:
      seen[top : top + height, left : left + width] = True
    if not seen.all():
      raise ConfigError(
        f"config key 'data.eval_crops' is {preprocess.eval_crops!r}, whose crops of {height}x{width} "
        f"leave pixels of an image of {size[0]}x{size[1]} unseen; use a finer grid, a larger "
        "data.image_size, or 'whole'"
      )


def _scaled(size: tuple[int, int], scale: float) -> tuple[int, int]:
  return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
