"""The first layers of a net: ImageNet's reduce the image by 4, CIFAR's keep its size.

An ImageNet stem on a 32-pixel image leaves 8x8 pixels for the whole net, which then trains
badly without any warning. Here it is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import jax

from cnnlab.errors import ShapeError
from cnnlab.models.downsampling import Downsample, pool
from cnnlab.nn import check_image
from cnnlab.nn.layers import Layers

Stem = Literal["imagenet", "cifar"]
STEM_STRIDE = {"imagenet": 4, "cifar": 1}
SMALLEST_FOR_IMAGENET = 64


def check_stem(
  shape: Sequence[int], stem: str, total_stride: int, model: str, *, classifies: bool = True
) -> None:
  """Raises ShapeError if images of `shape` [batch, height, width, channels] are too small.

  Args:
    shape: shape of the batch of images.
    stem: 'imagenet' requires images of at least 64 pixels.
    total_stride: stride of the net, including the stem.
    model: name of the model for the message.
    classifies: false of an encoder, whose maps serve in any size.
  """
  check_image(shape, total_stride, model)
  height, width = shape[1:3]
  if classifies and stem == "imagenet" and min(height, width) < SMALLEST_FOR_IMAGENET:
    raise ShapeError(
      f"{model} with stem='imagenet' has a total stride of {total_stride}: an image of "
      f"{height}x{width} pixels is too small, it takes {SMALLEST_FOR_IMAGENET}x"
      f"{SMALLEST_FOR_IMAGENET} and larger; stem='cifar' is for small images"
    )


def apply_stem(
  x: jax.Array, features: int, layers: Layers, stem: Stem, kind: Downsample, activate: bool = True
) -> dict[str, jax.Array]:
  """Applies the stem inside a net's `__call__`, with layers named `conv1` and `norm1`.

  Args:
    x: images [B,H,W,C].
    features: output channels.
    layers: conv, norm and act.
    stem: 'imagenet' is a 7x7 convolution of stride 2 and a 3x3 pooling of stride 2 (arXiv:
      1512.03385, table 1), 'cifar' one 3x3 convolution.
    kind: type of that pooling, 'max' or 'avg'; 'stride' moves its stride into the convolution.
    activate: apply norm and activation after the convolution.

  Returns:
    The map 'stem', [B,H/4,W/4,features] or [B,H,W,features], and before it 'conv1',
    [B,H/2,W/2,features], if it was pooled.
  """
  if stem == "cifar":
    x = layers.conv(features, 3, padding=1, name="conv1")(x)
  else:
    x = layers.conv(features, 7, stride=4 if kind == "stride" else 2, padding=3, name="conv1")(x)
  if activate:
    x = layers.act(layers.norm(name="norm1")(x))
  if stem == "cifar" or kind == "stride":
    return {"stem": x}
  return {"conv1": x, "stem": pool(kind, x, 3, 2, 1, fit="crop")}
