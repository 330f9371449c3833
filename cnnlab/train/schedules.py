"""Learning-rate schedules as functions of the step; plateau decay as a state of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import optax
from jax import Array

from cnnlab.errors import ConfigError, unknown

SCHEDULES = ("constant", "step", "cosine", "plateau")


def create_schedule(
  config: Any, *, peak: float, total_steps: int, warmup_steps: int
) -> Callable[[Array | int], Array]:
  """Returns the learning rate as a function of the number of finished steps.

  Args:
    config: the `schedule` section.
    peak: rate after the warm-up.
    total_steps: length of the training, warm-up included.
    warmup_steps: steps over which the rate rises linearly from 0; the first step already has 1/warmup of it.

  Raises:
    ConfigError: an unknown schedule, or values that make no sense for it.
  """
  if config.name not in SCHEDULES:
    raise ConfigError(unknown("schedule", config.name, SCHEDULES))
  if warmup_steps >= total_steps > 0 and warmup_steps > 0:
    raise ConfigError(
      f"config key 'schedule.warmup_epochs' makes {warmup_steps} steps of warm-up, but the training has {total_steps} steps"
    )
  decay = _decay(config, peak, total_steps, warmup_steps)
  if not warmup_steps:
    return decay
  return lambda step: jnp.where(step < warmup_steps, peak * (step + 1) / warmup_steps, decay(step))


def _decay(config: Any, peak: float, total_steps: int, warmup_steps: int) -> Callable:
  if config.name == "step":
    boundaries = [round(fraction * total_steps) for fraction in config.boundaries]
    if list(config.boundaries) != sorted(config.boundaries) or not all(
      0 < fraction <= 1 for fraction in config.boundaries
    ):
      raise ConfigError(
        f"config key 'schedule.boundaries' is {config.boundaries}; allowed: rising fractions of the training, over 0 up to 1"
      )
    return optax.piecewise_constant_schedule(peak, dict.fromkeys(boundaries, config.factor))
  if config.name == "cosine":
    cosine = optax.cosine_decay_schedule(
      peak, max(1, total_steps - warmup_steps), alpha=config.final_factor
    )
    return lambda step: cosine(jnp.maximum(step - warmup_steps, 0))
  return optax.constant_schedule(peak)  # plateau multiplies it by a state of its own


class Plateau:
  """Multiplies the learning rate by `factor` when an evaluation metric stalls.

  The arithmetic is `optax.contrib.reduce_on_plateau`'s, fed once an evaluation.
  """

  def __init__(self, factor: float, patience: int, mode: str):
    if patience < 1:
      raise ConfigError(f"config key 'schedule.patience' is {patience}; allowed: 1 and more")
    self._transform = optax.contrib.reduce_on_plateau(factor=factor, patience=patience)
    # optax asks for a relative improvement of a value to be minimised, which needs a fixed sign.
    self._sign = 1.0 if mode == "min" else -1.0
    if mode == "max":
      self._transform = optax.contrib.reduce_on_plateau(
        factor=factor, patience=patience, rtol=0.0, atol=1e-4
      )

  def init(self) -> Any:
    """Returns the state before the first evaluation; its `scale` is 1."""
    return self._transform.init(jnp.zeros(()))

  def update(self, state: Any, value: float) -> Any:
    """Returns the state after an evaluation that gave `value`."""
    updates = jnp.zeros(())
    return self._transform.update(updates, state, value=self._sign * jnp.float32(value))[1]


def create_plateau(config: Any, mode: str) -> Plateau | None:
  """Returns the plateau rule where the config's schedule is 'plateau', else None."""
  if config.name != "plateau":
    return None
  return Plateau(config.factor, config.patience, mode)
