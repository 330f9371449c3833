"""Parts shared by the nets of 1998 to 2014: response norm at its own places, strides that replace
pooling, and the fully connected classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
from flax import linen as nn

from cnnlab.models.downsampling import pool
from cnnlab.nn import LocalResponseNorm, global_avg_pool, make_layers
from cnnlab.nn.geometry import fit_axis
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.pool import adaptive_avg_pool
from cnnlab.nn.types import LayerFactory
from cnnlab.types import OptionValue


class Pool(NamedTuple):
  """Pooling after a convolution, or the stride that replaces it.

  Attributes:
    kind: 'max', 'avg', or 'stride': the convolution is evaluated where the windows' centers lie.
    window: size of the window; the center of an even window is its upper left.
    stride: step between windows.
    fit: 'crop' or 'pad' (PyTorch's ceil_mode) where the windows do not fit.
  """

  kind: str
  window: int
  stride: int = 2
  fit: str = "crop"


def classic_layers(norm: str, act: str, **options: OptionValue) -> tuple[Layers, LayerFactory]:
  """Returns layers whose norm follows every convolution, and the norm for the LRN's places.

  Local response norm follows the activation of few layers (AlexNet, section 3.3), all others
  precede it in every layer; so one of the two is always the identity. Its constants are
  AlexNet's (k=2).

  Args:
    norm: normalization, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    **options: further arguments of `cnnlab.nn.make_layers`.
  """
  layers = make_layers(norm, act, **options)
  identity = make_layers("none", train=False).norm
  if norm == "lrn":
    return layers._replace(norm=identity), LocalResponseNorm
  return layers, identity


def conv_pool(
  conv: LayerFactory, x: jax.Array, kernel_size: int, stride: int, padding: int, pooling: Pool
) -> jax.Array:
  """Convolves [batch, height, width, channels] to the size that pooling its output would have.

  The convolution is taken at the centers of the pooling's windows, which multiplies its stride by
  that of the pooling ("Striving for Simplicity", arXiv:1412.6806, section 2).

  Args:
    conv: `layers.conv` with its features, groups and name.
    x: images.
    kernel_size: window of the convolution.
    stride: stride of the convolution, before multiplication by that of the pooling.
    padding: zero padding of the convolution.
    pooling: pooling to replace.
  """
  center = (pooling.window - 1) // 2
  edges = []
  for size in x.shape[1:3]:
    full = fit_axis(size, kernel_size, stride, (padding, padding), fit="crop").out
    out = fit_axis(full, pooling.window, pooling.stride, fit=pooling.fit).out
    low = padding - stride * center
    edges.append((low, (out - 1) * stride * pooling.stride + kernel_size - size - low))
  (top, bottom), (left, right) = edges
  height, width = x.shape[1:3]
  x = x[:, max(-top, 0) : height - max(-bottom, 0), max(-left, 0) : width - max(-right, 0)]
  pads = tuple((max(low, 0), max(high, 0)) for low, high in edges)
  return conv(kernel_size=kernel_size, stride=stride * pooling.stride, padding=pads)(x)


def pool_unless_strided(x: jax.Array, pooling: Pool) -> jax.Array:
  """Pools [batch, height, width, channels], unless a stride replaces it."""
  if pooling.kind == "stride":
    return x
  return pool(pooling.kind, x, pooling.window, pooling.stride, fit=pooling.fit)


def head_input(x: jax.Array, head: str, grid: int | None) -> jax.Array:
  """Returns what the classifier reads of the last map [batch, height, width, channels].

  Args:
    x: last map.
    head: 'avgpool' averages it to [batch, channels]; 'fc' keeps a map.
    grid: side that 'fc' averages the map to, see `adaptive_avg_pool`; None keeps its size.
  """
  if head == "avgpool":
    return global_avg_pool(x)
  return x if grid is None else adaptive_avg_pool(x, grid)


def fully_connected(
  x: jax.Array,
  layers: Layers,
  num_classes: int,
  hidden: Sequence[int] = (),
  *,
  train: bool,
  dropout: float = 0.0,
  dropout_at: str = "output",
  dense: LayerFactory | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
  """Applies hidden layers with dropout and a linear classifier, inside a net's `__call__`.

  Args:
    x: [batch, height, width, channels], flattened in this order, or [batch, channels].
    layers: dense and act.
    num_classes: number of classes.
    hidden: widths of the hidden layers fc6, fc7, ...
    train: whether to drop.
    dropout: dropout rate of the hidden layers.
    dropout_at: 'input' or 'output' of the hidden layers.
    dense: factory of the hidden layers; default `layers.dense` with Kaiming fan-in.

  Returns:
    Logits [batch, num_classes] in float32 and the hidden layers' activations.
  """
  dense = dense or partial(layers.dense, kernel_init=kaiming_fan_in())
  feats = {}
  x = x.reshape(x.shape[0], -1)
  for i, features in enumerate(hidden, 6):
    drop = nn.Dropout(dropout, deterministic=not train, name=f"dropout{i}")
    x = drop(x) if dropout_at == "input" else x
    x = feats[f"fc{i}"] = layers.act(dense(features, name=f"fc{i}")(x))
    x = x if dropout_at == "input" else drop(x)
  feats["pre_logits"] = x
  x = layers.dense(num_classes, kernel_init=classifier_normal(), name="head")(x)
  return x.astype("float32"), feats
