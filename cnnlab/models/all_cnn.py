"""All-CNN: "Striving for Simplicity: The All Convolutional Net" (arXiv:1412.6806), tables 1 and 2.

Three base nets for 32x32 pixels, A with a 5x5 convolution before each pooling, B with a 1x1
convolution after it as well, C with two 3x3; and three ways to do without the pooling of each:
`strided` puts its stride into the convolution before it, `all_cnn` replaces it by a 3x3
convolution of stride 2 (so do `downsample='stride'` and `'conv'`), and `convpool` keeps it and
adds a 3x3 convolution before it, the control of equal size for `all_cnn`.

Where the paper leaves a choice: convolutions keep the size except the 3x3 one of the head, which
leaves the 6x6 pixels that table 1 averages; 3x3 poolings pad the end (32, 16, 8); in Strided-CNN-B
it is the 1x1 convolution that takes the stride, being the one before the pooling. Deviations:
table 1's ReLU on the ten class maps is off (`final_act` turns it on), for it can die; initial
weights, which the paper does not state, are Kaiming fan-out, and N(0, 0.01²) for the class maps.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar, Literal

import jax
from flax import linen as nn

from cnnlab.models.classic import Pool, pool_unless_strided
from cnnlab.models.downsampling import scaled
from cnnlab.models.ranges import Channels, Classes, Dropout, Width, Windows
from cnnlab.nn import check_image, global_avg_pool, make_layers
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

SMALLEST_IMAGE = 12  # the head's 3x3 convolution needs a map of 3x3


class AllCNN(nn.Module):
  """Two blocks of convolutions, a head of 1x1 convolutions and the average of its class maps.

  Attributes:
    num_classes: number of classes.
    windows: windows of the convolutions in each block: (5,) in A, (5, 1) in B, (3, 3) in C.
    features: output channels of the two blocks; the head has those of the second.
    downsample: 'max' or 'avg' 3x3 pooling of stride 2 after each block, a 'stride' in its last
      convolution, or a 3x3 'conv' of stride 2 with as many channels.
    extra_conv: one more 3x3 convolution at the end of each block (ConvPool).
    norm: normalization after each convolution but the last, see `cnnlab.nn.NORMS`.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    final_act: apply the activation to the class maps as well.
    dropout_input: dropout rate of the image.
    dropout: dropout rate after each block.
    width: multiplier of `features`.
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("final_act",)

  num_classes: Classes = 10
  windows: Windows = (3, 3)
  features: tuple[Channels, Channels] = (96, 192)
  downsample: Literal["max", "avg", "stride", "conv"] = "max"
  extra_conv: bool = False
  norm: str = "none"
  act: str = "relu"
  final_act: bool = False
  dropout_input: Dropout = 0.2
  dropout: Dropout = 0.5
  width: Width = 1.0
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes], the map after each block, and the head's maps."""
    check_image(x.shape, 4, "all_cnn", SMALLEST_IMAGE)
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    drop = partial(nn.Dropout, deterministic=not train)
    x = x.astype(layers.dtype)
    x = drop(self.dropout_input, name="dropout_input")(x)
    feats = {}
    for block in (1, 2):
      x = self._block(x, block, layers)
      feats[f"block{block}"] = x  # [B,16,16,96], [B,8,8,192]
      x = drop(self.dropout, name=f"dropout{block}")(x)
    features = scaled(self.features[1], self.width)
    for j, (window, padding) in enumerate(((3, 0), (1, 0)), 1):
      x = layers.conv(features, window, padding=padding, name=f"head_conv{j}")(x)
      x = layers.act(layers.norm(name=f"head_norm{j}")(x))
      feats[f"head{j}"] = x  # [B,6,6,192]
    if not self.num_classes:
      return x, feats
    feats["pre_logits"] = global_avg_pool(x)
    x = layers.conv(
      self.num_classes, 1, use_bias=True, kernel_init=classifier_normal(), name="head"
    )(x)
    feats["class_maps"] = layers.act(x) if self.final_act else x  # [B,6,6,classes]
    return global_avg_pool(feats["class_maps"]).astype("float32"), feats

  def _block(self, x: jax.Array, block: int, layers: Layers) -> jax.Array:
    features = scaled(self.features[block - 1], self.width)
    windows = self.windows + (3,) * self.extra_conv
    replaced = Pool(self.downsample, 3, 2, "pad")
    for j, window in enumerate(windows, 1):
      conv = partial(layers.conv, features, name=f"block{block}_conv{j}")
      if j == len(windows) and replaced.kind == "stride":
        # Windows of stride 2 that start at the first pixel, as in all published code; a map
        # of even size is halved exactly.
        x = conv(kernel_size=window, stride=2, padding=window // 2)(x)
      else:
        x = conv(kernel_size=window, padding=window // 2)(x)
      x = layers.act(layers.norm(name=f"block{block}_norm{j}")(x))
    if self.downsample == "conv":
      x = layers.conv(features, 3, stride=2, padding=1, name=f"block{block}_conv_down")(x)
      return layers.act(layers.norm(name=f"block{block}_norm_down")(x))
    return pool_unless_strided(x, replaced)


_BASES: dict[str, tuple[int, ...]] = {"a": (5,), "b": (5, 1), "c": (3, 3)}
_FORMS: dict[str, Options] = {
  "base": {"downsample": "max"},
  "strided": {"downsample": "stride"},
  "convpool": {"downsample": "max", "extra_conv": True},
  "all_cnn": {"downsample": "conv"},
}
SIZES: dict[str, Options] = {
  f"{form}_{base}": {"windows": windows, **options}
  for base, windows in _BASES.items()
  for form, options in _FORMS.items()
}


def build(name: str, **options: OptionValue) -> AllCNN:
  """Returns the net called `name` with the given options replaced."""
  return AllCNN(**{**SIZES[name], **options})
