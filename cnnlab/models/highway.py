"""Highway Networks (arXiv:1505.00387) and Training Very Deep Networks (1507.06228): convolutional.

A layer is y = H(x) T(x) + x (1 - T(x)), its transform gate T a sigmoid whose bias starts negative,
so that layers first carry their input. Where channels or size change, a layer is a plain one.

  highway10_<width>: MNIST, section 3.2: nine layers of one width
  highway19, highway32: CIFAR-10, table 2's Highway B and C, after FitNets (arXiv:1412.6550)
  highway20, 44, 56, 110: the depths, widths and batch norm of the CIFAR ResNets and plain nets, to
    compare with; a gate doubles a layer's parameters

Deviations: the papers print no layer lists. 10 follows from its parameter counts; 19 is FitNet-4's
list, whose count fits; 32 alternates 3x3 and 1x1 windows as the paper says, in widths of our choice
that fit its count. Pooling is 2x2, 19 and 32 end in global average pooling (section 3.3.2).
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import jax
from flax import linen as nn

from cnnlab.annotations import NotEmpty
from cnnlab.models.downsampling import Downsample, pool, scaled
from cnnlab.models.ranges import Channels, Classes, Dropout, Width, Windows
from cnnlab.nn import check_image, global_avg_pool, make_layers
from cnnlab.nn.init import classifier_normal, gate_bias
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue


class HighwayLayer(nn.Module):
  """A convolution [B,H,W,C] -> [B,H/stride,W/stride,features], gated where shapes agree.

  Attributes:
    layers: conv, norm and act.
    features: output channels.
    window: window of the convolution and of its gate.
    stride: stride of the convolution; 2 halves the map.
    dilation: dilation of the window.
    gated: False for a plain layer whatever the shapes.
    bias: initial bias of the gate.
  """

  layers: Layers
  features: int
  window: int
  stride: int
  dilation: int
  gated: bool
  bias: float

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns the layer's output."""
    conv, norm, act = self.layers.conv, self.layers.norm, self.layers.act
    place = {"dilation": self.dilation, "padding": self.dilation * (self.window // 2)}
    y = conv(self.features, self.window, stride=self.stride, name="conv", **place)(x)
    y = act(norm(name="norm")(y))
    if not self.gated or x.shape != y.shape:
      return y
    gate = conv(self.features, self.window, use_bias=False, name="gate", **place)(x)
    # A parameter of its own: weight norm sets the biases of its layers from the data.
    bias = self.param("gate_bias", gate_bias(self.bias), (self.features,))
    transform = jax.nn.sigmoid(gate + bias.astype(gate.dtype))
    return y * transform + x * (1 - transform)


class Highway(nn.Module):
  """Stages of highway layers; the map is halved between them.

  Attributes:
    num_classes: number of classes.
    stages: output channels of each layer of each stage.
    windows: windows of the layers, repeated in turn.
    gated: False for the plain net of the same layers.
    gate_bias: initial bias of the gates.
    head: 'avgpool' averages the last map, 'fc' pools it once more and flattens it.
    norm: normalization in H, not in the gates, see `cnnlab.nn.NORMS`.
    act: activation of H, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate of the pooled maps.
    width: multiplier of the channels.
    downsample: 2x2 pooling, 'max' or 'avg', after a stage, or 'stride' in the next one's first
      layer (the last map, which no layer follows, is then pooled by 'max').
    output_stride: largest total stride; stages beyond it dilate instead.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("head",)

  num_classes: Classes = 10
  stages: Annotated[tuple[tuple[Channels, ...], ...], NotEmpty()] = (
    (16, 16, 16),
    (16, 16, 16),
    (16, 16, 16),
  )
  windows: Windows = (3,)
  gated: bool = True
  gate_bias: float = -2.0
  head: Literal["avgpool", "fc"] = "avgpool"
  norm: str = "none"
  act: str = "relu"
  dropout: Dropout = 0.0
  width: Width = 1.0
  downsample: Downsample = "max"
  output_stride: Literal[4, 2, 1] = 4
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the map of each stage."""
    halvings = min({4: 2, 2: 1, 1: 0}[self.output_stride], len(self.stages) - 1)
    total = 2 ** (halvings + (self.head == "fc"))
    depth = sum(map(len, self.stages)) + 1
    check_image(x.shape, total, f"highway net of {depth} layers")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x = x.astype(layers.dtype)
    feats = {}
    for stage in range(len(self.stages)):
      if stage:
        pools = stage <= halvings and self.downsample != "stride"
        x = self._reduce(x, f"dropout{stage}", pools, train)
      x = self._stage(x, stage, halvings, layers)
      feats[f"stage{stage + 1}"] = x
    if not self.num_classes:
      return x, feats
    x = self._reduce(x, "dropout_head", self.head == "fc", train)
    x = global_avg_pool(x) if self.head == "avgpool" else x.reshape(x.shape[0], -1)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _stage(self, x: jax.Array, stage: int, halvings: int, layers: Layers) -> jax.Array:
    before = sum(map(len, self.stages[:stage]))
    strided = self.downsample == "stride" and 0 < stage <= halvings
    for i, features in enumerate(self.stages[stage]):
      x = HighwayLayer(
        layers=layers,
        features=scaled(features, self.width),
        window=self.windows[(before + i) % len(self.windows)],
        stride=2 if strided and i == 0 else 1,
        dilation=2 ** max(stage - halvings, 0),
        gated=self.gated,
        bias=self.gate_bias,
        name=f"stage{stage + 1}_layer{i + 1}",
      )(x)
    return x

  def _reduce(self, x: jax.Array, dropout: str, pools: bool, train: bool) -> jax.Array:
    if pools:
      x = pool("avg" if self.downsample == "avg" else "max", x, 2, 2, fit="crop")
    return nn.Dropout(self.dropout, deterministic=not train, name=dropout)(x)


def _twin(blocks: int) -> Options:
  """Returns the options of the twin of the CIFAR ResNet of 6 `blocks` + 2 layers."""
  first, *later = ((features,) * (2 * blocks) for features in (16, 32, 64))
  return {"stages": ((16, *first), *later), "norm": "batch", "downsample": "stride"}


SIZES: dict[str, Options] = {
  **{f"highway10_{k}": {"stages": ((k,) * 3,) * 3, "head": "fc"} for k in (16, 32)},
  "highway19": {"stages": ((32, 32, 32, 48, 48), (80,) * 6, (128,) * 6)},
  "highway32": {"stages": ((48,) * 10, (64,) * 10, (80,) * 11), "windows": (3, 1)},
  **{f"highway{6 * n + 2}": _twin(n) for n in (3, 7, 9, 18)},
}


def build(name: str, **options: OptionValue) -> Highway:
  """Returns the net called `name` with the given options replaced."""
  return Highway(**{**SIZES[name], **options})
