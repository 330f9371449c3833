"""Evaluation on several crops of an image, or on all of it: probabilities are averaged."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.models.sliding import log_mean_probability, slide


def forward_views(
  model: nn.Module, preprocess: Any, variables: Any, batch: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Array]:
  """Returns the preprocessed batch and the network's output on it, as `data.eval_crops` asks.

  With more than one view of an image, the output is the logarithm of its averaged probabilities,
  which can stand for logits. All views of a batch go through the network at once.

  Args:
    model: the network.
    preprocess: see `cnnlab.data.Preprocess`.
    variables: the network's.
    batch: stored images and targets.

  Raises:
    ConfigError: several views for a network that gives no [batch, classes].
  """
  if preprocess.eval_crops == "center":
    batch = preprocess.eval(batch)
    return batch, model.apply(variables, batch["image"], train=False)[0]
  views = preprocess.eval_views(batch["image"])
  flat = views.reshape(-1, *views.shape[2:])
  if preprocess.eval_crops == "dense":
    out = slide(model, (*preprocess.image_size, flat.shape[-1])).average(variables, flat)
  else:
    out = model.apply(variables, flat, train=False)[0]
  if out.ndim != 2:
    raise ConfigError(
      f"config key 'data.eval_crops' is {preprocess.eval_crops!r}, which is for classifiers; this "
      f"network gives {out.shape}: use 'center'"
    )
  return batch, log_mean_probability(out.reshape(*views.shape[:2], -1), axis=0)
