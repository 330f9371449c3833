"""Optimisers by name. They return directions; the step multiplies by the learning rate."""

from __future__ import annotations

from typing import Any

import jax
import optax

from cnnlab.errors import ConfigError, unknown

OPTIMISERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")


def create_optimiser(config: Any) -> optax.GradientTransformation:
  """Returns the transformation from gradients to descent directions of unit learning rate.

  Weight decay is added to the gradient (L2 regularisation, as in PyTorch's SGD), except
  for `adamw`, where it is decoupled (arXiv:1711.05101). The learning rate is left out so
  that schedules and plateau decay stay outside the optimiser's state.

  Args:
    config: the `optim` section.

  Raises:
    ConfigError: an unknown optimiser, or a negative decay or clipping norm.
  """
  if config.name not in OPTIMISERS:
    raise ConfigError(unknown("optimiser", config.name, OPTIMISERS))
  for key in ("weight_decay", "clip_norm"):
    if getattr(config, key) < 0:
      raise ConfigError(f"config key 'optim.{key}' is {getattr(config, key)}; allowed: 0 and more")
  clip = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
  mask = None if config.decay_all else matrices_only
  decay = [optax.add_decayed_weights(config.weight_decay, mask=mask)] if config.weight_decay else []
  direction = [_direction(config)]
  order = direction + decay if config.name == "adamw" else decay + direction
  return optax.chain(*clip, *order)


def _direction(config: Any) -> optax.GradientTransformation:
  if config.name == "sgd":
    if not config.momentum:
      return optax.identity()
    return optax.trace(decay=config.momentum, nesterov=config.nesterov)
  if config.name == "rmsprop":
    # eps outside the root and momentum after the scaling, as PyTorch has them.
    scale = optax.scale_by_rms(decay=config.decay, eps=config.eps, eps_in_sqrt=False)
    return optax.chain(scale, optax.trace(config.momentum)) if config.momentum else scale
  if config.name == "adagrad":
    return optax.scale_by_rss(initial_accumulator_value=0.0, eps=config.eps)
  return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def matrices_only(params: Any) -> Any:
  """Returns a mask that is True for kernels: biases, and norms' scales and shifts, have one axis."""
  return jax.tree.map(lambda leaf: leaf.ndim > 1, params)
