"""Normalization layers; `cnnlab.nn.layers.make_layers` chooses one by name.

Inputs are [batch, ..., channels]; statistics are computed in float32, and results have the type of
the input or `dtype`. The layers differ in the axes of the mean and variance (Group Normalization,
arXiv:1803.08494, figure 2). Batch norm is Flax's. Group and layer norm are not: Flax fixes the
groups and axes at construction, where the input's channels and rank are not known, and returns
float32 for half-precision inputs unless a dtype is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util
from flax.typing import Collection, VariableDict
from jax import lax

from cnnlab.errors import ConfigError, ShapeError, unknown
from cnnlab.native import batch_norm as native
from cnnlab.native import computes
from cnnlab.native.keep import keep
from cnnlab.nn.init import Initializer
from cnnlab.nn.types import DType

EPSILON = 1e-5
MOMENTUM = 0.9
ones, zeros = nn.initializers.ones, nn.initializers.zeros


def moments(x: jax.Array, axes: Sequence[int]) -> tuple[jax.Array, jax.Array]:
  """Returns mean and biased variance of `x` over `axes` in float32; `axes` are kept with size 1."""
  x = x.astype(jnp.float32)
  mean = x.mean(axes, keepdims=True)
  return mean, jnp.square(x - mean).mean(axes, keepdims=True)


def group_count(channels: int, groups: int = 32) -> int:
  """Returns the largest divisor of `channels` up to `groups` with at least two channels per group.

  Group norm's default is 32 groups. In the narrowest layer of the paper (64 channels) these have
  two channels; groups of one channel would be instance norm.
  """
  most = max(min(groups, channels // 2), 1)
  return next(count for count in range(most, 0, -1) if channels % count == 0)


class BatchNorm(nn.BatchNorm):
  """Flax's batch norm over all axes but the last; on a CPU its statistics are native.

  Parameters `scale` and `bias`, variables `mean` and `var` in `batch_stats`: as of `nn.BatchNorm`.
  """

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    use_running_average: bool | None = None,
    *,
    mask: jax.Array | None = None,
  ) -> jax.Array:
    """Normalizes [..., channels] by the batch's statistics or, in evaluation, by their averages."""
    averaged = nn.merge_param("use_running_average", self.use_running_average, use_running_average)
    if averaged or mask is not None or not computes(x):
      return super().__call__(x, use_running_average, mask=mask)
    channels = x.shape[-1:]
    average_mean = self.variable("batch_stats", "mean", jnp.zeros, channels)
    average_var = self.variable("batch_stats", "var", jnp.ones, channels)
    scale = self.param("scale", self.scale_init, channels)
    bias = self.param("bias", self.bias_init, channels)
    y, mean, var = native.batch_norm(x, scale, bias, self.epsilon, self.dtype or x.dtype)
    if not self.is_initializing():
      for average, value in ((average_mean, mean), (average_var, var)):
        average.value = self.momentum * average.value + (1 - self.momentum) * value
    return y


class GroupNorm(nn.Module):
  """Normalizes each example over space and groups of channels, with scale and bias per channel.

  `groups` = 1 is layer norm over a whole feature map (as in the switchable norm paper); one group
  per channel is instance norm. Source: arXiv:1803.08494, eq. 7.

  Attributes:
    groups: number of groups, 'channels' for instance norm (arXiv:1607.08022), or 'auto' for
      `group_count`.
    epsilon: added to the variance.
    dtype: type of the result; default: the input's.
    scale_init: initial scale.
  """

  groups: int | str = "auto"
  epsilon: float = EPSILON
  dtype: DType = None
  scale_init: Initializer = ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalizes [batch, ..., channels].

    Raises:
      ConfigError: the groups do not divide the channels.
      ShapeError: instance norm of a single pixel.
    """
    channels = x.shape[-1]
    if self.groups == "channels":
      # The only pixel of a channel would be its own mean, and the output constant.
      if math.prod(x.shape[1:-1]) == 1:
        raise ShapeError(
          f"instance norm {self.name!r}: {x.shape} has only one pixel per channel, which "
          "normalizes to zero; use larger images or another norm"
        )
      groups = channels
    elif self.groups == "auto":
      groups = group_count(channels)
    else:
      groups = int(self.groups)
      if groups < 1 or channels % groups:
        raise ConfigError(
          f"norm {self.name!r}: groups={groups} does not divide {channels} channels"
        )
    split = x.reshape(*x.shape[:-1], groups, channels // groups)
    axes = (*range(1, x.ndim - 1), x.ndim)
    mean, variance = moments(split, axes)
    scale = self.param("scale", self.scale_init, (channels,))
    bias = self.param("bias", zeros, (channels,))
    factor = lax.rsqrt(variance + self.epsilon)
    y = ((split - mean) * factor).reshape(x.shape) * scale + bias
    return y.astype(self.dtype or x.dtype)


class LayerNorm(nn.Module):
  """Layer norm: of images over (height, width, channels), of other arrays over the last axis.

  Scale and bias are per channel. Source: arXiv:1607.06450; for images, arXiv:1806.10779, eq. 2.

  Attributes:
    epsilon: added to the variance.
    dtype: type of the result; default: the input's.
    scale_init: initial scale.
  """

  epsilon: float = EPSILON
  dtype: DType = None
  scale_init: Initializer = ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalizes [batch, height, width, channels], [batch, tokens, channels], [batch, channels]."""
    mean, variance = moments(x, (1, 2, 3) if x.ndim == 4 else (-1,))
    scale = self.param("scale", self.scale_init, (x.shape[-1],))
    bias = self.param("bias", zeros, (x.shape[-1],))
    y = (x - mean) * lax.rsqrt(variance + self.epsilon) * scale + bias
    return y.astype(self.dtype or x.dtype)


class FrozenBatchNorm(nn.Module):
  """Batch norm whose statistics and affine weights never change, for fine-tuning on small batches.

  All four arrays are in the collection `batch_stats`, which no optimizer or weight decay updates;
  `freeze_batch_norm` moves the weights of a trained batch norm there.

  Attributes:
    epsilon: added to the variance.
    dtype: type of the result; default: the input's.
    scale_init: initial scale.
  """

  epsilon: float = EPSILON
  dtype: DType = None
  scale_init: Initializer = ones

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns (x - mean) / sqrt(var + epsilon) * scale + bias, per channel."""
    shape = (x.shape[-1],)
    mean = self.variable("batch_stats", "mean", jnp.zeros, shape).value
    variance = self.variable("batch_stats", "var", jnp.ones, shape).value
    scale = self.variable("batch_stats", "scale", self.scale_init, jax.random.key(0), shape).value
    bias = self.variable("batch_stats", "bias", jnp.zeros, shape).value
    factor = lax.rsqrt(variance + self.epsilon) * scale
    return (x * factor + (bias - mean * factor)).astype(self.dtype or x.dtype)


class MeanOnlyBatchNorm(nn.Module):
  """Subtracts the batch mean and adds a bias; used with weight norm (arXiv:1602.07868, 4).

  Attributes:
    use_running_average: whether to use the moving average of the mean, as in evaluation.
    momentum: momentum of the moving average.
    dtype: type of the result; default: the input's.
  """

  use_running_average: bool
  momentum: float = MOMENTUM
  dtype: DType = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Centers [batch, ..., channels] per channel."""
    shape = (x.shape[-1],)
    average = self.variable("batch_stats", "mean", jnp.zeros, shape)
    bias = self.param("bias", zeros, shape)
    if self.use_running_average:
      mean = average.value
    else:
      mean = x.astype(jnp.float32).mean(tuple(range(x.ndim - 1)))
      if not self.is_initializing():
        average.value = self.momentum * average.value + (1 - self.momentum) * mean
    return (x - mean + bias).astype(self.dtype or x.dtype)


class LocalResponseNorm(nn.Module):
  """Local response normalization across channels, without parameters; see `local_response_norm`."""

  size: int = 5
  alpha: float = 1e-4
  beta: float = 0.75
  k: float = 2.0
  form: str = "alexnet"

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Normalizes [batch, ..., channels]."""
    return local_response_norm(x, self.size, self.alpha, self.beta, self.k, self.form)


def local_response_norm(
  x: jax.Array,
  size: int = 5,
  alpha: float = 1e-4,
  beta: float = 0.75,
  k: float = 2.0,
  form: str = "alexnet",
) -> jax.Array:
  """Divides by (k + alpha * sum of squares of `size` neighboring channels)^beta.

  Args:
    x: [..., channels].
    size: number of channels n in a window, which is truncated at the first and last channel.
    alpha: factor of the sum.
    beta: exponent.
    k: constant; 2 in AlexNet (section 3.3), 1 in PyTorch and Caffe.
    form: 'alexnet' multiplies the sum by alpha, 'pytorch' by alpha / size.

  Raises:
    ConfigError: for an unknown form.
  """
  if form not in ("alexnet", "pytorch"):
    raise ConfigError(unknown("form of local response norm", form, ("alexnet", "pytorch")))
  factor = alpha if form == "alexnet" else alpha / size
  squares = jnp.square(x.astype(jnp.float32))
  # XLA:CPU is several times slower with windows of one padded array, and without `keep`.
  shifts = range(-(size // 2), (size - 1) // 2 + 1)
  scale = keep(jnp.asarray(k + factor * sum(_shifted(squares, shift) for shift in shifts)))
  if beta == 0.75:  # AlexNet's; roots are faster than a power
    root = lax.rsqrt(scale)
    return (x * (root * jnp.sqrt(root))).astype(x.dtype)
  return (x * jnp.power(scale, -beta)).astype(x.dtype)


def _shifted(x: jax.Array, shift: int) -> jax.Array:
  """Returns `x` with channel c + shift at c, and zeros where there is none."""
  channels = x.shape[-1]
  shift = max(-channels, min(shift, channels))
  part = x[..., max(shift, 0) : channels + min(shift, 0)]
  return jnp.pad(part, [(0, 0)] * (x.ndim - 1) + [(max(-shift, 0), max(shift, 0))])


def freeze_batch_norm(variables: VariableDict) -> dict[str, Collection]:
  """Moves the affine weights of every batch norm into `batch_stats`, as in `FrozenBatchNorm`.

  Args:
    variables: {'params': ..., 'batch_stats': ...} of a net with norm='batch'.

  Returns:
    Variables for the same net with norm='frozen_batch'; other collections are unchanged.
  """
  flat = traverse_util.flatten_dict
  params, stats = flat(dict(variables["params"])), flat(dict(variables["batch_stats"]))
  norms = {path[:-1] for path in stats}
  moved = {path: leaf for path, leaf in params.items() if path[:-1] in norms}
  kept = {path: leaf for path, leaf in params.items() if path not in moved}
  unflat = traverse_util.unflatten_dict
  return {**variables, "params": unflat(kept), "batch_stats": unflat({**stats, **moved})}
