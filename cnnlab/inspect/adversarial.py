"""Adversarial examples: images that are changed a little so that a classifier errs.

Changes are bounded in each pixel (L-infinity), in levels of 0 to 255, and images stay within these.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError
from cnnlab.inspect.network import PixelNetwork

if TYPE_CHECKING:
  from cnnlab.runs.trained import Trained

LEVELS = 255.0


class Target(PixelNetwork):
  """A classifier as a function of pixels; its output is logits, [batch, classes]."""

  @classmethod
  def of(cls, trained: Trained) -> Target:
    """Returns the network of a run, for images of the size that the run stores."""
    return cls(trained.model, trained.variables, trained.preprocess.eval)

  @cached_property
  def logits(self) -> Callable[[Array], Array]:
    """From images to logits, [batch, classes]."""
    return jax.jit(
      lambda images: self.model.apply(self.variables, self.to_inputs(images), train=False)[0]
    )

  @cached_property
  def gradient(self) -> Callable[[Array, Array], Array]:
    """From images and labels to the gradient of each image's cross-entropy by its pixels."""

    def loss(images: Array, labels: Array) -> Array:
      out = self.logits(images).astype(jnp.float32)
      return optax.softmax_cross_entropy_with_integer_labels(out, labels).sum()

    return jax.jit(jax.grad(loss))


def fgsm(target: Target, images: ArrayLike, labels: ArrayLike, epsilon: float) -> np.ndarray:
  """Returns images after one step of size epsilon along the gradient's sign, of their shape, float32.

  Args:
    target: the classifier.
    images: uint8 or float [batch, height, width, channels] in levels of 0 to 255.
    labels: int [batch]; the loss of these classes is increased.
    epsilon: most levels by which a value changes.

  Raises:
    ConfigError: a negative epsilon.

  Source: arXiv:1412.6572, section 4 (the fast gradient sign method).
  """
  return pgd(target, images, labels, epsilon, steps=1, step_size=epsilon)


def pgd(
  target: Target,
  images: ArrayLike,
  labels: ArrayLike,
  epsilon: float,
  *,
  steps: int = 10,
  step_size: float | None = None,
  key: Array | None = None,
) -> np.ndarray:
  """Returns images after several steps along the gradient's sign, each projected to the bound.

  Args:
    target, images, labels, epsilon: see `fgsm`.
    steps: number of steps.
    step_size: in levels; 2.5 epsilon / steps by default, so that the bound can be reached from
      anywhere within it.
    key: if given, the start is drawn uniformly within the bound.

  Raises:
    ConfigError: a negative epsilon, or no step.

  Source: arXiv:1706.06083, section 2.1 (projected gradient descent).
  """
  if not 0 <= epsilon <= LEVELS or steps < 1:
    raise ConfigError(
      f"epsilon {epsilon} and steps {steps}; allowed: epsilon from 0 to 255 levels, 1 step or more"
    )
  given = jnp.asarray(images, jnp.float32)
  low, high = jnp.maximum(given - epsilon, 0), jnp.minimum(given + epsilon, LEVELS)
  size = 2.5 * epsilon / steps if step_size is None else step_size
  found = given
  if key is not None:
    found += jax.random.uniform(key, given.shape, minval=-epsilon, maxval=epsilon)
    found = jnp.clip(found, low, high)
  for _ in range(steps):
    slope = target.gradient(found, jnp.asarray(labels))
    found = jnp.clip(found + size * jnp.sign(slope), low, high)
  return np.asarray(found)


ATTACKS: dict[str, Callable[[Target, ArrayLike, ArrayLike, float], np.ndarray]] = {
  "fgsm": fgsm,
  "pgd": pgd,
}


def accuracy_under_attack(
  target: Target,
  images: np.ndarray,
  labels: np.ndarray,
  epsilons: Sequence[float],
  batch_size: int = 128,
) -> pd.DataFrame:
  """Returns how many images each attack of `ATTACKS` leaves correct, over epsilon.

  Args:
    target: the classifier.
    images: [examples, height, width, channels] in levels of 0 to 255.
    labels: int [examples].
    epsilons: in levels.
    batch_size: images that go through the network at once.

  Returns:
    Rows of `attack`, `epsilon`, `correct`, `examples` and `accuracy`.
  """
  rows = []
  for name, attack in ATTACKS.items():
    for epsilon in epsilons:
      correct = 0
      for first in range(0, len(images), batch_size):
        part = np.s_[first : first + batch_size]
        changed = attack(target, images[part], labels[part], epsilon)
        found = np.asarray(target.logits(jnp.asarray(changed))).argmax(axis=-1)
        correct += int((found == labels[part]).sum())
      rows.append((name, float(epsilon), correct, len(images), correct / len(images)))
  return pd.DataFrame(rows, columns=["attack", "epsilon", "correct", "examples", "accuracy"])
