"""Stochastic depth: residual branches that are dropped at random in training (arXiv:1603.09382)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError, unknown

SCHEDULES = ("linear", "uniform")


def survival_probabilities(count: int, last: float, schedule: str = "linear") -> tuple[float, ...]:
  """Returns the survival probability p_l of each of `count` residual blocks.

  Args:
    count: number of blocks L.
    last: survival probability p_L of the last block, in (0, 1]; 1 disables dropping.
    schedule: 'linear' for p_l = 1 - l/L (1 - p_L), l = 1..L (section 3, eq. 4), 'uniform' for
      p_l = p_L in all blocks.

  Raises:
    ConfigError: for an unknown schedule or a probability outside (0, 1].
  """
  if schedule not in SCHEDULES:
    raise ConfigError(unknown("survival_schedule", schedule, SCHEDULES))
  if not 0 < last <= 1:
    raise ConfigError(f"survival: {last} is not a probability in (0, 1]")
  if schedule == "uniform":
    return (last,) * count
  return tuple(1 - block / count * (1 - last) for block in range(1, count + 1))


Owner = TypeVar("Owner", bound=nn.Module)  # the module that owns the layers of a branch


class StochasticDepth(nn.Module):
  """Multiplies a residual branch [batch, ...] by Bernoulli(survival) in training.

  At test time the branch is multiplied by `survival` (eq. 5), its expected weight in training.
  Random numbers come from the `dropout` stream.

  Attributes:
    survival: probability that the branch is kept; with 1, the module is the identity.
    per: 'batch' draws once per batch, as the paper does; 'sample' draws once per example.
    scale: 'test' multiplies at test time as in the paper; 'train' divides by `survival` in
      training instead, as later code does.
  """

  survival: float = 1.0
  per: str = "sample"
  scale: str = "test"

  def __call__(self, branch: jax.Array, *, train: bool) -> jax.Array:
    """Returns the branch, dropped or scaled; ConfigError for unknown options."""
    self._check()
    if self.survival == 1 or not train:
      return self._weigh(branch, train)
    keep = self._draw(branch.shape[0] if self.per == "sample" else 1)
    keep = keep.reshape((-1,) + (1,) * (branch.ndim - 1))
    return jnp.where(keep, self._weigh(branch, train), jnp.zeros((), branch.dtype))

  # Not wrapped by Flax, so that the branch finds its layers in `module` rather than in this one.
  @nn.nowrap
  def skip(
    self,
    module: Owner,
    branch: Callable[[Owner, jax.Array], jax.Array],
    x: jax.Array,
    *,
    like: jax.Array,
    train: bool,
  ) -> jax.Array:
    """Returns `__call__(branch(module, x))`, but computes the branch only if it survives.

    A dropped branch costs nothing, and its batch norms keep their moving averages. Intended for
    accelerators: XLA on a CPU is 70 times slower at gradients of convolutions in conditionals.

    Args:
      module: the module that owns the branch's layers.
      branch: a function of the module and the branch's input.
      x: the branch's input.
      like: an array with the shape and type of the branch's output, such as the shortcut.
      train: as in `__call__`.

    Raises:
      ConfigError: if `per` is not 'batch'.
    """
    self._check()
    if self.per != "batch":
      raise ConfigError(
        f"stochastic depth: per={self.per!r} cannot skip branches, only per='batch' can"
      )
    if self.survival == 1 or not train or module.is_initializing():
      return self._weigh(branch(module, x), train)
    keep = self._draw(1)[0]

    def run(module: Owner, x: jax.Array) -> jax.Array:
      return self._weigh(branch(module, x), train)

    return nn.cond(keep, run, lambda module, x: jnp.zeros_like(like), module, x)

  def _draw(self, count: int) -> jax.Array:
    return jax.random.bernoulli(self.make_rng("dropout"), self.survival, (count,))

  def _weigh(self, branch: jax.Array, train: bool) -> jax.Array:
    if train and self.scale == "train":
      return branch / self.survival
    return branch if train or self.scale == "train" else branch * self.survival

  def _check(self) -> None:
    if self.per not in ("sample", "batch"):
      raise ConfigError(unknown("stochastic depth's 'per'", self.per, ("sample", "batch")))
    if self.scale not in ("test", "train"):
      raise ConfigError(unknown("stochastic depth's 'scale'", self.scale, ("test", "train")))
    if not 0 < self.survival <= 1:
      raise ConfigError(f"survival: {self.survival} is not a probability in (0, 1]")
