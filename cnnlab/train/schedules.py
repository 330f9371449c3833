"""Learning-rate schedules as functions of the step; plateau decay as a state of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import jax.numpy as jnp
import optax
from jax import Array

from cnnlab.annotations import Between, Count, Fraction, Positive, PositiveFraction
from cnnlab.errors import ConfigError, shown

# More cannot be meant, and their steps may not fit into 32 bits.
Epochs: TypeAlias = Annotated[float, Between(0, 1_000_000)]


@dataclasses.dataclass(frozen=True)
class Schedule:
  """Settings that all schedules share; `cnnlab/defaults.py` explains the keys."""

  warmup_epochs: Epochs = 0.0

  def decay(self, peak: float, total_steps: int, warmup_steps: int) -> Callable:
    """Returns the learning rate behind the warm-up as a function of the step."""
    return optax.constant_schedule(peak)


@dataclasses.dataclass(frozen=True)
class ConstantSchedule(Schedule):
  """The same rate throughout."""


@dataclasses.dataclass(frozen=True)
class StepSchedule(Schedule):
  """The rate is multiplied by `factor` at fractions of the training."""

  boundaries: tuple[PositiveFraction, ...] = (0.5, 0.75)
  factor: Positive = 0.1

  def __post_init__(self) -> None:
    """Raises ConfigError for boundaries that do not rise."""
    if list(self.boundaries) != sorted(self.boundaries):
      raise ConfigError(
        f"config key 'schedule.boundaries' is {shown(self.boundaries)}; allowed: rising fractions "
        "of the training"
      )

  def decay(self, peak: float, total_steps: int, warmup_steps: int) -> Callable:
    """Returns a piecewise constant rate."""
    steps = [round(fraction * total_steps) for fraction in self.boundaries]
    return optax.piecewise_constant_schedule(peak, dict.fromkeys(steps, self.factor))


@dataclasses.dataclass(frozen=True)
class CosineSchedule(Schedule):
  """Half a cosine from the peak to `final_factor` of it (arXiv:1608.03983)."""

  final_factor: Fraction = 0.0

  def decay(self, peak: float, total_steps: int, warmup_steps: int) -> Callable:
    """Returns the cosine, which begins after the warm-up."""
    cosine = optax.cosine_decay_schedule(
      peak, max(1, total_steps - warmup_steps), alpha=self.final_factor
    )
    return lambda step: cosine(jnp.maximum(step - warmup_steps, 0))


@dataclasses.dataclass(frozen=True)
class PlateauSchedule(Schedule):
  """The rate is multiplied by `factor` where the main metric stalls; `Plateau` keeps the state."""

  factor: Annotated[float, Between(0, 1, over=True, below=True)] = 0.1
  patience: Count = 5


SCHEDULES: dict[str, type[Schedule]] = {
  "constant": ConstantSchedule,
  "step": StepSchedule,
  "cosine": CosineSchedule,
  "plateau": PlateauSchedule,
}


def create_schedule(
  settings: Schedule, *, peak: float, total_steps: int, warmup_steps: int
) -> Callable[[Array | int], Array]:
  """Returns the learning rate as a function of the number of finished steps.

  Args:
    settings: the chosen schedule.
    peak: rate after the warm-up.
    total_steps: length of the training, warm-up included.
    warmup_steps: steps over which the rate rises linearly from 0; the first step already has 1/warmup of it.

  Raises:
    ConfigError: the warm-up is longer than the training.
  """
  if warmup_steps >= total_steps > 0 and warmup_steps > 0:
    raise ConfigError(
      f"config key 'schedule.warmup_epochs' makes {warmup_steps} steps of warm-up, but the training has {total_steps} steps"
    )
  decay = settings.decay(peak, total_steps, warmup_steps)
  if not warmup_steps:
    return decay
  return lambda step: jnp.where(step < warmup_steps, peak * (step + 1) / warmup_steps, decay(step))


class Plateau:
  """Multiplies the learning rate by `factor` when an evaluation metric stalls.

  The arithmetic is `optax.contrib.reduce_on_plateau`'s, fed once an evaluation.
  """

  def __init__(self, factor: float, patience: int, mode: str):
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


def create_plateau(settings: Schedule, mode: str) -> Plateau | None:
  """Returns the plateau rule where the schedule is one, else None; `mode` is 'min' or 'max'."""
  if not isinstance(settings, PlateauSchedule):
    return None
  return Plateau(settings.factor, settings.patience, mode)
