"""Classifying several crops of an image, or all of it: probabilities are averaged."""

from __future__ import annotations

from typing import Any

from flax import linen as nn
from flax.typing import VariableDict
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.models.sliding import log_mean_probability, slide


def classify_views(
  model: nn.Module, variables: VariableDict, preprocess: Any, images: Array
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
