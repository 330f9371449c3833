"""The contract between the train loop and a kind of problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from jax import Array

Batch = Mapping[str, Array]
Sums = dict[str, Array]


class Task(Protocol):
  """Loss, metrics and predictions of one kind of problem.

  `out` and `feats` are what the network returned for `batch['image']`. Metrics are sums
  over examples, never means, so that an evaluation in batches of any size, the last one
  padded and masked, counts every example exactly once.
  """

  main_metric: tuple[str, str]
  """Name of the metric that decides which model is best, and 'min' or 'max'."""

  def outputs(self) -> int:
    """Returns the number of output channels that the network needs (classes)."""

  def loss(self, out: Array, feats: Mapping[str, Any], batch: Batch) -> Array:
    """Returns the training loss of each example, [batch], in float32."""

  def metric_sums(self, out: Array, batch: Batch, mask: Array) -> Sums:
    """Returns sums over the examples whose mask is 1 (float32, [batch]); `count` is among them."""

  def summarise(self, sums: Mapping[str, Any]) -> dict[str, float]:
    """Returns the metrics that follow from sums over all examples."""

  def predict(self, out: Array) -> Array:
    """Returns what a user wants to see of the output, such as class probabilities."""
