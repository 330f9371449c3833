"""Classification: one label an image, softmax cross-entropy, top-1 and top-5."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.tasks.base import Batch, Sums


@dataclasses.dataclass(frozen=True)
class Classification:
  """Softmax classification of whole images.

  Attributes:
    class_names: one a class, in the order of the labels.
    label_smoothing: probability mass spread evenly over all classes (arXiv:1512.00567, section 7).
    auxiliary_weight: weight of the loss of each auxiliary classifier, whose logits a network
      returns in training as `feats['auxiliary_logits']` (arXiv:1409.4842, section 5).
  """

  class_names: tuple[str, ...]
  label_smoothing: float = 0.0
  auxiliary_weight: float = 0.3

  main_metric = ("eval/error", "min")

  @classmethod
  def from_config(cls, config: Any, *, class_names: tuple[str, ...]) -> Classification:
    """Returns the task of a config's `task` section.

    Raises:
      ConfigError: a smoothing outside [0, 1).
    """
    if not 0 <= config.label_smoothing < 1:
      raise ConfigError(
        f"config key 'task.label_smoothing' is {config.label_smoothing}; allowed: 0 to below 1"
      )
    return cls(class_names, config.label_smoothing, config.auxiliary_weight)

  def outputs(self) -> int:
    """Returns the number of classes."""
    return len(self.class_names)

  def loss(self, out: Array, feats: Mapping[str, Any], batch: Batch) -> Array:
    """Returns the smoothed cross-entropy per example, [batch], auxiliary classifiers included."""
    loss = self._cross_entropy(out, batch["label"])
    for logits in feats.get("auxiliary_logits", ()):
      loss += self.auxiliary_weight * self._cross_entropy(logits, batch["label"])
    return loss

  def _cross_entropy(self, logits: Array, label: Array) -> Array:
    target = optax.smooth_labels(jax.nn.one_hot(label, logits.shape[-1]), self.label_smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), target)

  def metric_sums(self, out: Array, batch: Batch, mask: Array) -> Sums:
    """Returns sums of cross-entropy (nats, without smoothing), top-1 and top-5 hits, and the count.

    The rank of an example's label is the number of classes with a higher logit, plus those
    of lower index with an equal one, so that ties are decided as `argmax` decides them.
    """
    logits, label = out.astype(jnp.float32), batch["label"]
    own = jnp.take_along_axis(logits, label[:, None], axis=-1)
    earlier = jnp.arange(logits.shape[-1])[None, :] < label[:, None]
    rank = jnp.sum((logits > own) | ((logits == own) & earlier), axis=-1)
    # A logit that is not a number is greater than nothing, which must not pass for a hit.
    rank = jnp.where(jnp.all(jnp.isfinite(logits), axis=-1), rank, logits.shape[-1])
    cross_entropy = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return {
      "cross_entropy": jnp.sum(jnp.where(mask > 0, cross_entropy, 0.0)),
      "top1": jnp.sum(mask * (rank < 1)),
      "top5": jnp.sum(mask * (rank < 5)),
      "count": jnp.sum(mask),
    }

  def summarise(self, sums: Mapping[str, Any]) -> dict[str, float]:
    """Returns cross-entropy in nats; top-1, top-5 and error as fractions; and the count."""
    count = float(sums["count"])
    top1 = float(sums["top1"]) / count
    return {
      "cross_entropy": float(sums["cross_entropy"]) / count,
      "top1": top1,
      "top5": float(sums["top5"]) / count,
      "error": 1.0 - top1,
      "count": round(count),
    }

  def predict(self, out: Array) -> Array:
    """Returns class probabilities, [batch, classes]."""
    return jax.nn.softmax(out.astype(jnp.float32), axis=-1)
