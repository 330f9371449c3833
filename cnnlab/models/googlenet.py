"""GoogLeNet: "Going Deeper with Convolutions" (arXiv:1409.4842), table 1 and figure 3.

A stem, nine inception modules and an average-pool head; two auxiliary classifiers after modules
4a and 4d, whose logits are `feats['auxiliary_logits']` in training. `googlenet_2014` is the
paper's net: 5x5 convolutions in the third branch, biases, local response norm after the first
pooling and before the second, dropout 0.4. `googlenet` is torchvision's: batch norm (epsilon
1e-3) after each convolution, 3x3 windows in the third branch, a 2x2 fourth pooling, dropout 0.2.

`inception='naive'` is figure 2(a)'s module, without 1x1 reductions: its pooled branch is passed on
with all channels, so that channels pile up from module to module.

Deviations of `googlenet_2014`: Kaiming initial weights (the paper states none). torchvision's
published weights expect images centered to [-1, 1]; `transform_input` turns images that were
centered by ImageNet's mean and deviation into those, as torchvision does when it loads them.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.annotations import Positive
from cnnlab.errors import ConfigError, unknown
from cnnlab.models.classic import (
  Pool,
  classic_layers,
  conv_pool,
  fully_connected,
  pool_unless_strided,
)
from cnnlab.models.conv_norm_act import conv_norm_act
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.models.ranges import Classes, Dropout, Width
from cnnlab.models.stem import Stem, check_stem
from cnnlab.nn import global_avg_pool
from cnnlab.nn.init import classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.pool import adaptive_avg_pool
from cnnlab.nn.types import LayerFactory
from cnnlab.types import Options, OptionValue

# Table 1: channels of 1x1, 3x3 reduction, 3x3, 5x5 reduction, 5x5, and pooling's projection.
MODULES: dict[str, tuple[int, int, int, int, int, int]] = {
  "3a": (64, 96, 128, 16, 32, 32),
  "3b": (128, 128, 192, 32, 96, 64),
  "4a": (192, 96, 208, 16, 48, 64),
  "4b": (160, 112, 224, 24, 64, 64),
  "4c": (128, 128, 256, 24, 64, 64),
  "4d": (112, 144, 288, 32, 64, 64),
  "4e": (256, 160, 320, 32, 128, 128),
  "5a": (256, 160, 320, 32, 128, 128),
  "5b": (384, 192, 384, 48, 128, 128),
}
AUXILIARY = {"4a": "aux1", "4d": "aux2"}
IMAGENET_MEAN, IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Inception(nn.Module):
  """Parallel 1x1, 3x3 and 5x5 convolutions and a 3x3 pooling, side by side along the channels.

  Maps [batch, height, width, channels] to [batch, height / stride, width / stride, sum of the
  branches].

  Attributes:
    layers: conv, norm and act.
    channels: output channels of 1x1, 3x3 reduction, 3x3, 5x5 reduction, 5x5 and projection.
    form: 'reduced', or 'naive' without reductions and projection.
    large_window: window of the third branch: 5, or 3 as in torchvision.
    stride: stride of each branch's last layer, where it replaces the pooling after the module.
  """

  layers: Layers
  channels: tuple[int, int, int, int, int, int]
  form: str = "reduced"
  large_window: int = 5
  stride: int = 1

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns the branches' maps, 1x1 first, pooling last."""
    one, three_reduced, three, five_reduced, five, projected = self.channels
    naive = self.form == "naive"
    layer = partial(conv_norm_act, self.layers)
    three_in = x if naive else layer(three_reduced, 1, "branch2_reduce")(x)
    five_in = x if naive else layer(five_reduced, 1, "branch3_reduce")(x)
    last = {"stride": self.stride}
    pool_stride = self.stride if naive else 1
    pooled = pool("max", x, 3, pool_stride, 1, "crop")
    return jnp.concatenate(
      [
        layer(one, 1, "branch1", **last)(x),
        layer(three, 3, "branch2", **last)(three_in),
        layer(five, self.large_window, "branch3", **last)(five_in),
        pooled if naive else layer(projected, 1, "branch4", **last)(pooled),
      ],
      -1,
    )


# A map after each stage, and the auxiliary classifiers' logits.
Features = dict[str, jax.Array | tuple[jax.Array, ...]]


class Auxiliary(nn.Module):
  """A classifier on a map in the net's middle: average, 1x1 convolution, two linear layers.

  Attributes:
    layers: conv, dense, norm and act.
    features: channels of the convolution, units of the hidden layer.
    num_classes: number of classes.
    dropout: dropout rate at the hidden layer's output.
    pooling: 'paper' averages 5x5 pixels with stride 3 (14 to 4 pixels), 'adaptive' to 4x4 always.
  """

  layers: Layers
  features: tuple[int, int]
  num_classes: int
  dropout: float
  pooling: str

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns logits [batch, num_classes] in float32."""
    if self.pooling == "paper":
      x = pool("avg", x, 5, 3, fit="crop")
    else:
      x = adaptive_avg_pool(x, 4)
    x = conv_norm_act(self.layers, self.features[0], 1, "conv1")(x)
    x = x.reshape(x.shape[0], -1)
    x = self.layers.dense(self.features[1], kernel_init=kaiming_fan_in(), name="fc1")(x)
    x = nn.Dropout(self.dropout, deterministic=not train, name="dropout")(self.layers.act(x))
    x = self.layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32")


class GoogLeNet(nn.Module):
  """Nine inception modules.

  Attributes:
    num_classes: number of classes.
    modules: modules of table 1 to build; default all, at least one per stage.
    inception: 'reduced' modules, or 'naive' ones.
    large_window: window of the modules' third branch.
    auxiliary: build the two auxiliary classifiers; they are evaluated in training only.
    auxiliary_dropout: dropout rate of the auxiliary classifiers.
    auxiliary_pool: first layer of the auxiliary classifiers: 'paper' 5x5 with stride 3, or
      'adaptive' to 4x4.
    stem: 'imagenet' as published; 'cifar' is one 3x3 convolution and the 1x1 and 3x3 ones without
      their poolings.
    downsample: 'max' or 'avg' pooling, or a 'stride' in the layer before (all branches of a module).
    last_window: window of the fourth pooling: 3 in the paper, 2 in torchvision.
    norm: 'lrn' at the paper's two places, others after each convolution, see `cnnlab.nn.NORMS`.
    norm_epsilon: value added to the variances.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate before the classifier.
    transform_input: convert images centered by ImageNet's mean and deviation to [-1, 1].
    width: multiplier of all channels.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("auxiliary", "auxiliary_dropout", "auxiliary_pool", "dropout")

  num_classes: Classes = 1000
  modules: tuple[str, ...] = tuple(MODULES)
  inception: Literal["reduced", "naive"] = "reduced"
  large_window: Literal[5, 3] = 3
  auxiliary: bool = True
  auxiliary_dropout: Dropout = 0.7
  auxiliary_pool: Literal["paper", "adaptive"] = "adaptive"
  stem: Stem = "imagenet"
  downsample: Downsample = "max"
  last_window: Literal[2, 3] = 2
  norm: str = "batch"
  norm_epsilon: Positive = 1e-3
  act: str = "relu"
  dropout: Dropout = 0.2
  transform_input: bool = False
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, Features]:
    """Returns logits and the map after each stage, with 'auxiliary_logits' in training."""
    total = 32 if self.stem == "imagenet" else 4
    check_stem(x.shape, self.stem, total, "googlenet", classifies=self.num_classes > 0)
    layers, response_norm = classic_layers(
      self.norm, self.act, train=train, dtype=self.dtype, norm_epsilon=self.norm_epsilon
    )
    if self.transform_input:
      mean, deviation = jnp.asarray(IMAGENET_MEAN), jnp.asarray(IMAGENET_DEVIATION)
      x = (x * deviation + mean - 0.5) / 0.5
    feats: Features = {}
    x = self._stem(x.astype(layers.dtype), layers, response_norm, feats)
    auxiliary = []
    classifiers = AUXILIARY if self.auxiliary and self.num_classes else {}
    ends = self._stage_ends()
    for name in self.modules:
      pooling = {"3": self._pool(3), "4": self._pool(self.last_window)}.get(ends.get(name, ""))
      x = Inception(
        layers,
        tuple(scaled(c, self.width) for c in MODULES[name]),  # type: ignore[arg-type]
        self.inception,
        self.large_window,
        2 if pooling and pooling.kind == "stride" else 1,
        name=f"inception{name}",
      )(x)
      if pooling:
        x = pool_unless_strided(x, pooling)
      if name in ends:
        feats[f"stage{ends[name]}"] = x  # at 224 pixels: 14, 7 and 7
      if name in classifiers and (train or self.is_initializing()):
        auxiliary.append(self._auxiliary(classifiers[name], layers)(x, train=train))
    if not self.num_classes:
      return x, feats
    x = global_avg_pool(x)
    x = nn.Dropout(self.dropout, deterministic=not train, name="dropout_head")(x)
    logits, last = fully_connected(x, layers, self.num_classes, train=train)
    feats |= last
    if auxiliary and train:
      feats["auxiliary_logits"] = tuple(auxiliary)
    return logits, feats

  def _stage_ends(self) -> dict[str, str]:
    """Returns the last module of each stage -> the stage's number."""
    for name in self.modules:
      if name not in MODULES:
        raise ConfigError(unknown("inception module", name, MODULES))
    ends = {name[0]: name for name in self.modules}
    if list(self.modules) != sorted(set(self.modules)) or len(ends) != 3:
      raise ConfigError(f"modules: {self.modules} must be in order, with one at least of 3, 4, 5")
    return {name: stage for stage, name in ends.items()}

  def _pool(self, window: int) -> Pool:
    return Pool(self.downsample, window, 2, "pad")

  def _auxiliary(self, name: str, layers: Layers) -> Auxiliary:
    features = scaled(128, self.width), scaled(1024, self.width)
    return Auxiliary(
      layers,
      features,
      self.num_classes,
      self.auxiliary_dropout,
      self.auxiliary_pool,
      name=name,
    )

  def _stem(
    self, x: jax.Array, layers: Layers, response_norm: LayerFactory, feats: Features
  ) -> jax.Array:
    """Three convolutions and two poolings; a stage ends where a pooling does."""
    cifar = self.stem == "cifar"
    pooling = self._pool(3)
    for i, features, window in ((1, 64, 7), (2, 64, 1), (3, 192, 3)):
      window, stride = (3, 1) if cifar and i == 1 else (window, 1 if cifar or i > 1 else 2)
      conv = partial(layers.conv, scaled(features, self.width), name=f"conv{i}_conv")
      pools = not cifar and i in (1, 3)
      if pools and pooling.kind == "stride":
        x = conv_pool(conv, x, window, stride, window // 2, pooling)
      else:
        x = conv(kernel_size=window, stride=stride, padding=window // 2)(x)
      x = layers.act(layers.norm(name=f"conv{i}_norm")(x))
      if i == 3:
        x = response_norm(name="norm2")(x)
      if pools:
        x = pool_unless_strided(x, pooling)
      if i == 1:
        x = response_norm(name="norm1")(x)
      if i in (1, 3):
        feats[f"stage{(i + 1) // 2}"] = x  # at 224 pixels: 56 and 28
    return x


SIZES: dict[str, Options] = {
  "googlenet": {},
  "googlenet_2014": {
    "large_window": 5,
    "auxiliary_pool": "paper",
    "last_window": 3,
    "norm": "lrn",
    "dropout": 0.4,
  },
}


def build(name: str, **options: OptionValue) -> GoogLeNet:
  """Returns the net called `name` with the given options replaced."""
  return GoogLeNet(**{**SIZES[name], **options})
