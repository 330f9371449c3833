"""Switchable normalization: each layer learns a mixture of three norms (arXiv:1806.10779)."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import natsort
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.typing import Collection
from jax import lax

from cnnlab.errors import ShapeError
from cnnlab.nn.init import Initializer
from cnnlab.nn.norm import EPSILON, MOMENTUM, moments
from cnnlab.nn.types import DType

STATISTICS = ("instance", "layer", "batch")


class SwitchableNorm(nn.Module):
  """Normalizes with a weighted mean of instance, layer and batch statistics (eq. 3 to 5).

  Parameters: `scale` and `bias` [channels]; `mean_weight` and `var_weight` [3], whose softmax
  weighs the means and the variances in the order of `STATISTICS`. `batch_stats` contains the
  moving averages `mean` and `var`, which replace the batch's statistics in evaluation. The paper's
  "batch average" takes them over training batches instead: see `cnnlab.train.norm_statistics`.

  Attributes:
    use_running_average: whether to use the moving averages, as in evaluation.
    momentum: momentum of the moving averages.
    epsilon: added to the variance.
    dtype: type of the result; default: the input's.
    scale_init: initial scale.
  """

  use_running_average: bool
  momentum: float = MOMENTUM
  epsilon: float = EPSILON
  dtype: DType = None
  scale_init: Initializer = nn.initializers.ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalizes [batch, ..., channels]; ShapeError without spatial axes."""
    if x.ndim < 3:
      raise ShapeError(
        f"switchable norm {self.name!r}: {x.shape} has no spatial axes to average over"
      )
    channels = x.shape[-1]
    scale = self.param("scale", self.scale_init, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    mean_weight = jax.nn.softmax(self.param("mean_weight", nn.initializers.ones, (3,)))
    var_weight = jax.nn.softmax(self.param("var_weight", nn.initializers.ones, (3,)))
    instance_mean, instance_var = moments(x, tuple(range(1, x.ndim - 1)))
    # Layer and batch statistics follow from the instances' (eq. 4). Rounding can make a variance
    # negative where the mean is much larger than the deviation, hence the bound.
    second = instance_var + jnp.square(instance_mean)
    layer_mean = instance_mean.mean(-1, keepdims=True)
    layer_var = jnp.maximum(second.mean(-1, keepdims=True) - jnp.square(layer_mean), 0.0)
    batch_mean, batch_var = self._batch_statistics(instance_mean, second)
    means = (instance_mean, layer_mean, batch_mean)
    variances = (instance_var, layer_var, batch_var)
    mean = sum(mean_weight[i] * value for i, value in enumerate(means))
    variance = sum(var_weight[i] * value for i, value in enumerate(variances))
    y = (x - mean) * lax.rsqrt(variance + self.epsilon) * scale + bias
    return y.astype(self.dtype or x.dtype)

  def _batch_statistics(
    self, instance_mean: jax.Array, second: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns mean and variance [channels] of the batch, or their moving averages."""
    shape = instance_mean.shape[-1:]
    average_mean = self.variable("batch_stats", "mean", jnp.zeros, shape)
    average_var = self.variable("batch_stats", "var", jnp.ones, shape)
    if self.use_running_average:
      return average_mean.value, average_var.value
    axes = tuple(range(instance_mean.ndim - 1))
    mean = instance_mean.mean(axes)
    variance = jnp.maximum(second.mean(axes) - jnp.square(mean), 0.0)
    if not self.is_initializing():
      rate = 1 - self.momentum
      average_mean.value = self.momentum * average_mean.value + rate * mean
      average_var.value = self.momentum * average_var.value + rate * variance
    return mean, variance


class Importance(NamedTuple):
  """Softmax weights of a switchable norm, each (instance, layer, batch), summing to 1."""

  mean: tuple[float, ...]
  variance: tuple[float, ...]


def importance_weights(params: Collection) -> dict[str, Importance]:
  """Returns the learned weights of the statistics in each switchable norm of a net.

  Args:
    params: the `params` of the net.

  Returns:
    Weights by path of the layer ('stage1_block1/norm1'), sorted by path with numbers by value (JAX
    does not keep the order of a dict); empty if the net has no switchable norm.
  """
  flat = traverse_util.flatten_dict(dict(params), sep="/")

  def softmax(path: str) -> tuple[float, ...]:
    values = np.exp(np.asarray(flat[path], np.float64) - np.max(flat[path]))
    return tuple(float(value) for value in values / values.sum())

  layers = [path.removesuffix("/mean_weight") for path in flat if path.endswith("/mean_weight")]
  return {
    layer: Importance(softmax(f"{layer}/mean_weight"), softmax(f"{layer}/var_weight"))
    for layer in natsort.natsorted(layers)
  }
