"""Construction of a net's layers from the names of norm, activation and dtype."""

from __future__ import annotations

import inspect
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
from cnnlab.register import register
from cnnlab.types import Options

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


class Norm(NamedTuple):
  """A norm of the table.

  Attributes:
    layer: class of a module, or a function in its place, called with `name` and with those of
      `use_running_average`, `momentum`, `epsilon`, `dtype` and `scale_init` that it takes.
    shift: whether it adds a learned shift; without one, convolutions have a bias.
    scale: whether it multiplies by a learned scale, which `scale_init` starts.
  """

  layer: LayerFactory
  shift: bool = True
  scale: bool = True


def _identity(*, name: str) -> Layer:
  del name
  return lambda x: x


NORMS: dict[str, Norm] = {
  "batch": Norm(norms.BatchNorm),
  "frozen_batch": Norm(norms.FrozenBatchNorm, scale=False),
  "layer": Norm(norms.LayerNorm),
  "instance": Norm(partial(norms.GroupNorm, groups="channels")),
  "group": Norm(norms.GroupNorm),
  "switchable": Norm(SwitchableNorm),
  "weight": Norm(_identity, shift=False, scale=False),
  "weight_mean_only": Norm(norms.MeanOnlyBatchNorm, scale=False),
  # AlexNet's k=2 divides by 1.7 in every layer, which leaves no signal at ResNet-18's depth.
  "lrn": Norm(partial(norms.LocalResponseNorm, k=1.0), shift=False, scale=False),
  "none": Norm(_identity, shift=False, scale=False),
}


def register_norm(
  name: str, norm: LayerFactory, *, shift: bool = True, replace: bool = False
) -> None:
  """Makes a norm available as the option `norm` of every model.

  Args:
    name: of the norm.
    norm: a Flax module of arrays [batch, ..., channels], such as `flax.linen.RMSNorm`; see `Norm.layer`.
    shift: whether it adds a learned shift; without one, convolutions have a bias.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: the name is taken.
  """
  scale = "scale_init" in inspect.signature(norm).parameters
  register(NORMS, "norm", name, Norm(norm, shift, scale), replace=replace)


def register_activation(
  name: str, activation: Callable[[jax.Array], jax.Array], *, replace: bool = False
) -> None:
  """Makes a function of an array available as the option `act` of every model.

  Raises:
    ConfigError: the name is taken.
  """
  register(ACTIVATIONS, "activation", name, activation, replace=replace)


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
  bias = not NORMS[norm].shift
  kind = jnp.dtype(dtype)
  weight_normed = norm.startswith("weight")
  return Layers(
    conv=partial(WeightNormConv if weight_normed else Conv, use_bias=bias, fit="crop", dtype=kind),
    dense=partial(WeightNormDense, dtype=kind)
    if weight_normed
    else partial(nn.Dense, dtype=kind, dot_general=dot_general),
    norm=_norm_factory(
      NORMS[norm].layer,
      {
        "use_running_average": not train,
        "momentum": norm_momentum,
        "epsilon": norm_epsilon,
        "dtype": kind,
      },
    ),
    act=activation(act),
    conv_bias=bias,
    dtype=kind,
  )


def activation(name: str) -> Callable[[jax.Array], jax.Array]:
  """Returns the activation with the given name; ConfigError if it is unknown."""
  if name not in ACTIVATIONS:
    raise ConfigError(unknown("activation", name, ACTIVATIONS))
  return ACTIVATIONS[name]


def _norm_factory(layer: LayerFactory, options: Options) -> LayerFactory:
  taken = inspect.signature(layer).parameters
  chosen = {key: value for key, value in options.items() if key in taken}

  def make(*, name: str, scale_init: Initializer | None = None) -> Layer:
    if scale_init is not None and "scale_init" in taken:
      return layer(name=name, scale_init=scale_init, **chosen)
    return layer(name=name, **chosen)

  return make
