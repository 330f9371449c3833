"""LeNet-5: "Gradient-Based Learning Applied to Document Recognition" (Proc. IEEE 1998), section II.B.

For images of 32x32 pixels: C1, six 5x5 filters; S2, 2x2 subsampling with a trainable coefficient
and bias for each map; C3, sixteen 5x5 filters that see the maps of table I only; S4; C5, 120
5x5 filters; F6, 84 units; scaled tanh throughout; and ten radial basis functions whose centers are
fixed codes: 60,000 trainable parameters. `lenet5_modern` is the form of today's courses: all of
C3's connections, max pooling, ReLU, a linear output: 61,706 parameters.

Deviations: the RBF's codes are random ±1 (which the paper allows) instead of drawn characters of
7x12 pixels, and logits are minus the squared distances, so that softmax cross-entropy is the
paper's criterion (eq. 9) without its constant for a rubbish class. A subsampling's coefficient
starts at 1/4, an average. A larger image's C5 map is averaged; the paper reads it out pixel by pixel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnlab.models.classic import Pool, conv_pool, pool_unless_strided
from cnnlab.models.ranges import Classes, PaddingSize
from cnnlab.nn import check_image, global_avg_pool, make_layers
from cnnlab.nn.conv import affine, convolve, require_images
from cnnlab.nn.geometry import Padding
from cnnlab.nn.init import Initializer, classifier_normal, kaiming_fan_in
from cnnlab.nn.layers import Layers
from cnnlab.nn.types import DType, Layer, LayerFactory
from cnnlab.nn.weight_norm import weight_normed
from cnnlab.types import Options, OptionValue

# Table I: which maps of S2 each of C3's sixteen maps sees, by the number that it sees.
C3_INPUTS: dict[int, tuple[tuple[int, ...], ...]] = {
  3: ((0, 1, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5), (0, 4, 5), (0, 1, 5)),
  4: (
    (0, 1, 2, 3),
    (1, 2, 3, 4),
    (2, 3, 4, 5),
    (0, 3, 4, 5),
    (0, 1, 4, 5),
    (0, 1, 2, 5),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
  ),
  6: ((0, 1, 2, 3, 4, 5),),
}
SMALLEST_IMAGE = 32


def scaled_tanh(x: jax.Array) -> jax.Array:
  """Returns 1.7159 tanh(2x/3), which maps ±1 to ±1 (appendix A)."""
  return 1.7159 * jnp.tanh(x * (2 / 3))


def lecun_uniform(
  key: jax.Array, shape: Sequence[int], dtype: DType = None, out_sharding: object = None
) -> jax.Array:
  """Draws U(±2.4 / F), F being the number of inputs (appendix A); an initializer."""
  del out_sharding
  limit = 2.4 / math.prod(shape[:-1])
  return jax.random.uniform(key, shape, dtype or jnp.float32, -limit, limit)


class Subsampling(nn.Module):
  """Sums 2x2 pixels, multiplies by a coefficient and adds a bias, trained per map."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, height, width, channels] to half the height and width."""
    require_images(x, f"subsampling {self.name!r}")
    shape = (x.shape[3],)
    coefficient = self.param("coefficient", nn.initializers.constant(0.25), shape)
    bias = self.param("bias", nn.initializers.zeros, shape)
    summed = 4 * pool_unless_strided(x, Pool("avg", 2))
    return summed * coefficient.astype(x.dtype) + bias.astype(x.dtype)


class PartialConv(nn.Module):
  """A convolution each of whose output maps reads only some input maps, the same number for each.

  Maps [batch, height, width, in] to [batch, out height, out width, len(inputs)]. Parameters:
  `kernel` [window, window, maps seen, len(inputs)] and `bias`. Equal to a grouped convolution on
  gathered channels, but without groups, whose gradient took 80 times as long on a CPU.

  Attributes:
    inputs: for each output map, the indices of the input maps that it reads.
    kernel_size: window.
    stride: stride.
    padding: zeros around the image.
    use_bias: add `bias`.
    weight_normed: reparametrize the kernel as `WeightNormConv` does.
    dtype: computation dtype.
    kernel_init, bias_init: initial values.
  """

  inputs: tuple[tuple[int, ...], ...]
  kernel_size: int
  stride: int = 1
  padding: Padding = 0
  use_bias: bool = True
  weight_normed: bool = False
  dtype: DType = None
  kernel_init: Initializer = kaiming_fan_in()
  bias_init: Initializer = nn.initializers.zeros

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Convolves `x`; ShapeError if its size does not fit."""
    seen, maps = len(self.inputs[0]), len(self.inputs)
    shape = (self.kernel_size, self.kernel_size, seen, maps)
    places = np.array(self.inputs).T, np.arange(maps)

    def apply(images: jax.Array, kernel: jax.Array) -> jax.Array:
      full = jnp.zeros((*shape[:2], images.shape[3], maps), kernel.dtype)
      full = full.at[:, :, places[0], places[1]].set(kernel)
      return convolve(
        images, full, self.stride, self.padding, fit="crop", what=f"conv {self.name!r}"
      )

    return (weight_normed if self.weight_normed else affine)(self, x, shape, apply)


def codes(count: int, length: int) -> np.ndarray:
  """Returns `count` fixed random codes of ±1, [count, length]; more codes extend fewer."""
  rng = np.random.Generator(np.random.PCG64(1998))
  return (2 * rng.integers(0, 2, (count, length)) - 1).astype(np.float32)


class LeNet5(nn.Module):
  """Two convolutions with subsampling, a third that leaves one pixel, and two more layers.

  Attributes:
    num_classes: number of classes.
    connections: 'partial' is table I, 'full' connects all maps of S2 to all of C3.
    downsample: 'trainable' subsampling as published, 'max' or 'avg' 2x2 pooling, or a 'stride' in
      the convolution before.
    output: 'rbf' or 'linear'.
    padding: zeros around the image: 2 for the 28x28 pixels of MNIST.
    norm: normalization after C1 and C3, see `cnnlab.nn.NORMS`.
    act: 'scaled_tanh' or one of `cnnlab.nn.ACTIVATIONS`.
    initial: 'paper' is U(±2.4 / inputs), 'kaiming' N(0, 2 / inputs).
    dtype: computation dtype.
  """

  HEAD_OPTIONS: ClassVar = ("output",)

  num_classes: Classes = 10
  connections: Literal["partial", "full"] = "partial"
  downsample: Literal["trainable", "max", "avg", "stride"] = "trainable"
  output: Literal["rbf", "linear"] = "rbf"
  padding: PaddingSize = 0
  norm: str = "none"
  act: str = "scaled_tanh"
  initial: Literal["paper", "kaiming"] = "paper"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the maps s2, s4, c5 and f6."""
    check_image(x.shape, 4, "lenet5", SMALLEST_IMAGE - 2 * self.padding)
    own = self.act == "scaled_tanh"
    act = "tanh" if own else self.act
    layers = make_layers(self.norm, act, train=train, dtype=self.dtype)
    layers = layers._replace(act=scaled_tanh) if own else layers
    kernel_init = lecun_uniform if self.initial == "paper" else kaiming_fan_in()
    # The papers' layers have biases; norms with a shift replace those of C1 and C3 alone.
    conv = partial(layers.conv, kernel_init=kernel_init)
    x = x.astype(layers.dtype)
    feats = {}
    x = self._stage(partial(conv, 6, name="c1"), x, "1", layers, self.padding)
    feats["s2"] = x  # [B,14,14,6]
    full = partial(conv, 16, name="c3")
    c3 = full if self.connections == "full" else self._partial(layers, kernel_init)
    x = self._stage(c3, x, "3", layers, 0)
    feats["s4"] = x  # [B,5,5,16]
    if not self.num_classes:
      return x, feats
    x = layers.act(conv(120, 5, use_bias=True, name="c5")(x))
    x = global_avg_pool(x)
    feats["c5"] = x
    x = layers.act(layers.dense(84, kernel_init=kernel_init, name="f6")(x))
    feats["f6"] = feats["pre_logits"] = x
    if self.output == "linear":
      x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
      return x.astype("float32"), feats
    centers = jnp.asarray(codes(self.num_classes, 84))
    distances = jnp.square(x.astype("float32")[:, None] - centers).sum(-1)
    return -distances, feats

  def _stage(
    self, conv: LayerFactory, x: jax.Array, number: str, layers: Layers, padding: int
  ) -> jax.Array:
    pooling = Pool(self.downsample, 2)
    if self.downsample == "stride":
      x = conv_pool(conv, x, 5, 1, padding, pooling)
    else:
      x = conv(kernel_size=5, stride=1, padding=padding)(x)
    x = layers.act(layers.norm(name=f"norm{number}")(x))
    if self.downsample == "trainable":
      return layers.act(Subsampling(name=f"s{int(number) + 1}")(x))
    return pool_unless_strided(x, pooling)

  def _partial(self, layers: Layers, kernel_init: Initializer) -> LayerFactory:
    """Returns C3's factory: the maps that see 3 maps, those that see 4, the one that sees 6."""

    def make(**options: OptionValue) -> Layer:
      def apply(x: jax.Array) -> jax.Array:
        maps = [
          PartialConv(
            inputs,
            **options,
            use_bias=layers.conv_bias,
            weight_normed=self.norm.startswith("weight"),
            dtype=layers.dtype,
            kernel_init=kernel_init,
            name=f"c3_seeing{seen}",
          )(x)
          for seen, inputs in C3_INPUTS.items()
        ]
        return jnp.concatenate(maps, -1)

      return apply

    return make


SIZES: dict[str, Options] = {
  "lenet5": {},
  "lenet5_modern": {
    "connections": "full",
    "downsample": "max",
    "output": "linear",
    "act": "relu",
    "initial": "kaiming",
  },
}


def build(name: str, **options: OptionValue) -> LeNet5:
  """Returns the net called `name` with the given options replaced."""
  return LeNet5(**{**SIZES[name], **options})
