"""Construction of a net's layers from the names of norm, activation and dtype."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cnnlab.errors import ConfigError, unknown
from cnnlab.native.convolution import dot_general
from cnnlab.nn import norm as norms
from cnnlab.nn.conv import Conv
from cnnlab.nn.init import Initializer
from cnnlab.nn.switchable import SwitchableNorm
from cnnlab.nn.types import DType, Layer, LayerFactory
from cnnlab.nn.weight_norm import WeightNormConv, WeightNormDense
from cnnlab.types import Options

NORMS = (
  "batch",
  "frozen_batch",
  "layer",
  "instance",
  "group",
  "switchable",
  "weight",
  "weight_mean_only",
  "lrn",
  "none",
)
NORMS_WITHOUT_SHIFT = ("weight", "lrn", "none")
DTYPES = ("float32", "bfloat16")


def gelu(x: jax.Array) -> jax.Array:
  """Returns x times the normal distribution function of x (arXiv:1606.08415)."""
  # jax.nn.gelu computes erfc, which takes three passes over the array on a CPU.
  return 0.5 * x * (1 + lax.erf(jnp.asarray(x) * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
  "relu": jax.nn.relu,
  "relu6": jax.nn.relu6,
  "leaky_relu": jax.nn.leaky_relu,
  "elu": jax.nn.elu,
  "gelu": gelu,
  "silu": jax.nn.silu,
  "hard_swish": jax.nn.hard_swish,
  "softplus": jax.nn.softplus,
  "sigmoid": jax.nn.sigmoid,
  "tanh": jnp.tanh,
  "none": lambda x: x,
}


class Layers(NamedTuple):
  """Factories that a net passes to its stem, blocks, head and decoder.

  Attributes:
    conv: `conv(features, kernel_size, stride=..., padding=..., name=...)(x)`, a `Conv` or its
      weight-normed form. By default it crops sizes that do not fit (PyTorch's rule) and has a bias
      only if `conv_bias`; `fit` and `use_bias` override this.
    dense: `dense(features, name=...)(x)`, with a bias.
    norm: `norm(name=...)(x)`; also accepts `scale_init`, which norms without scale ignore.
    act: the activation, a function of an array.
    conv_bias: True if the norm has no shift of its own that would replace a conv's bias.
    dtype: type of the computation.
  """

  conv: LayerFactory
  dense: LayerFactory
  norm: LayerFactory
  act: Callable[[jax.Array], jax.Array]
  conv_bias: bool
  dtype: DType


def make_layers(
  norm: str = "batch",
  act: str = "relu",
  *,
  train: bool,
  dtype: str = "float32",
  norm_momentum: float = norms.MOMENTUM,
  norm_epsilon: float = norms.EPSILON,
) -> Layers:
  """Returns the layers for the given norm, activation and dtype.

  Args:
    norm: one of `NORMS`. 'layer' computes statistics of images over height, width and channels;
      'weight' reparametrizes conv and dense kernels; 'weight_mean_only' adds mean-only batch norm;
      'lrn' has k=1 in every layer, as in PyTorch and Caffe.
    act: one of `ACTIVATIONS`.
    train: whether norms with moving averages use and update the batch's statistics.
    dtype: type of the computation, 'float32' or 'bfloat16'; parameters and statistics are float32.
    norm_momentum: of moving averages, new = momentum * old + (1 - momentum) * batch's.
    norm_epsilon: added to variances.

  Raises:
    ConfigError: for an unknown name; the message names the nearest known ones.
  """
  if norm not in NORMS:
    raise ConfigError(unknown("norm", norm, NORMS))
  if dtype not in DTYPES:
    raise ConfigError(unknown("dtype", dtype, DTYPES))
  bias = norm in NORMS_WITHOUT_SHIFT
  kind = jnp.dtype(dtype)
  weight_normed = norm.startswith("weight")
  return Layers(
    conv=partial(WeightNormConv if weight_normed else Conv, use_bias=bias, fit="crop", dtype=kind),
    dense=partial(WeightNormDense, dtype=kind)
    if weight_normed
    else partial(nn.Dense, dtype=kind, dot_general=dot_general),
    norm=_norm_factory(norm, train, kind, norm_momentum, norm_epsilon),
    act=activation(act),
    conv_bias=bias,
    dtype=kind,
  )


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """Returns the activation with the given name; ConfigError if it is unknown."""
  if name not in ACTIVATIONS:
    raise ConfigError(unknown("activation", name, ACTIVATIONS))
  return ACTIVATIONS[name]


def _norm_factory(
  norm: str, train: bool, dtype: DType, momentum: float, epsilon: float
) -> LayerFactory:
  averaged: Options = {"use_running_average": not train, "momentum": momentum, "dtype": dtype}
  plain: Options = {"epsilon": epsilon, "dtype": dtype}
  factories: dict[str, LayerFactory] = {
    "batch": partial(norms.BatchNorm, epsilon=epsilon, **averaged),
    "frozen_batch": partial(norms.FrozenBatchNorm, **plain),
    "layer": partial(norms.LayerNorm, **plain),
    "instance": partial(norms.GroupNorm, groups="channels", **plain),
    "group": partial(norms.GroupNorm, groups="auto", **plain),
    "switchable": partial(SwitchableNorm, epsilon=epsilon, **averaged),
    "weight": _identity,
    "weight_mean_only": _without_scale(partial(norms.MeanOnlyBatchNorm, **averaged)),
    # AlexNet's k=2 divides by 1.7 in every layer, which leaves no signal at ResNet-18's depth.
    "lrn": _without_scale(partial(norms.LocalResponseNorm, k=1.0)),
    "none": _identity,
  }
  return factories[norm]


def _identity(*, name: str, scale_init: Initializer | None = None) -> Layer:
  del name, scale_init
  return lambda x: x


def _without_scale(factory: LayerFactory) -> LayerFactory:
  def make(*, name: str, scale_init: Initializer | None = None) -> Layer:
    del scale_init
    return factory(name=name)

  return make
