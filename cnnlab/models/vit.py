"""An Image is Worth 16x16 Words (arXiv:2010.11929), table 1: Vision Transformers.

The image is cut into patches, each a token; a class token and a learned position embedding are
added, and encoder blocks (norm, attention, norm, MLP, each with a shortcut) follow:

  ti: 12 blocks of 192, 3 heads     s: 12 of 384, 6 (both arXiv:2012.12877)
  b: 12 of 768, 12                  l: 24 of 1024, 16               h: 32 of 1280, 16

Layer norm has an epsilon of 1e-6, GELU is the exact one. Deviation: the classifier starts at
N(0, 0.01), not at zero, from which no other layer would get a gradient in the first step. No
pre-logits layer, as in torchvision.
"""

from __future__ import annotations

from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models.downsampling import scaled
from cnnlab.models.ranges import Channels, Classes, Depth, Dropout, Survival, Width, Window
from cnnlab.native.keep import keep
from cnnlab.native.matmul import matmul
from cnnlab.nn import StochasticDepth, check_image, make_layers, survival_probabilities
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.layers import Layers
from cnnlab.types import Options, OptionValue

EPSILON = 1e-6
xavier = nn.initializers.xavier_uniform()
nearly_zero = nn.initializers.normal(1e-6)


class EncoderBlock(nn.Module):
  """Self-attention and an MLP over tokens [B,N,C], each on normalized tokens and with a shortcut.

  Attributes:
    layers: dense, norm and act.
    heads: number of attention heads.
    mlp_features: width of the MLP's hidden layer.
    dropout: dropout rate of both branches' outputs and of the MLP's hidden layer.
    attention_dropout: dropout rate of the attention weights.
    drop: options of `StochasticDepth` in the branches.
  """

  layers: Layers
  heads: int
  mlp_features: int
  dropout: float
  attention_dropout: float
  drop: Options

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Returns tokens of the same shape."""

    def dropped(y: jax.Array, rate: float, name: str) -> jax.Array:
      return nn.Dropout(rate, deterministic=not train, name=name)(y)

    layers = self.layers
    y = self._attention(layers.norm(name="norm1")(x), train)
    y = dropped(y, self.dropout, "dropout1")
    x = keep(x + StochasticDepth(**self.drop, name="drop1")(y, train=train))
    y = layers.norm(name="norm2")(x)
    y = layers.dense(self.mlp_features, kernel_init=xavier, bias_init=nearly_zero, name="mlp1")(y)
    y = dropped(layers.act(y), self.dropout, "dropout2")
    y = layers.dense(x.shape[-1], kernel_init=xavier, bias_init=nearly_zero, name="mlp2")(y)
    y = dropped(y, self.dropout, "dropout3")
    return keep(x + StochasticDepth(**self.drop, name="drop2")(y, train=train))

  def _attention(self, x: jax.Array, train: bool) -> jax.Array:
    batch, tokens, features = x.shape
    each = features // self.heads
    packed = self.layers.dense(3 * features, kernel_init=xavier, name="attention_qkv")(x)
    split = packed.reshape(batch, tokens, 3, self.heads, each)
    query, key, value = jnp.moveaxis(split, (2, 3), (0, 2))  # each [B,heads,N,C/heads]
    scores = matmul(query, key, transposed_b=True) * each**-0.5
    weights = jax.nn.softmax(scores.astype(jnp.float32)).astype(x.dtype)  # [B,heads,N,N]
    weights = nn.Dropout(self.attention_dropout, deterministic=not train, name="dropout_attention")(
      weights
    )
    mixed = jnp.moveaxis(matmul(weights, value), 1, 2).reshape(x.shape)
    return self.layers.dense(features, kernel_init=xavier, name="attention_out")(mixed)


class ViT(nn.Module):
  """A Vision Transformer; the image's size at initialization fixes its position embedding.

  Attributes:
    num_classes: number of classes.
    patch_size: side of a patch in pixels; must divide the sides of the image.
    features: width of a token.
    depth: number of encoder blocks.
    heads: number of attention heads; must divide the width of a token.
    mlp_features: width of the MLPs' hidden layer.
    pool: input of the classifier: the class 'token', or the 'mean' of the patches (no class token).
    width: multiplier of `features` and `mlp_features`.
    norm: normalization, see `cnnlab.nn.NORMS`; over tokens, 'layer' takes statistics of each token.
    act: activation, see `cnnlab.nn.ACTIVATIONS`.
    dropout: dropout rate of the embedding, the branches' outputs and the MLPs' hidden layer.
    attention_dropout: dropout rate of the attention weights.
    survival: probability that the last block's branches survive (arXiv:1603.09382); 1 disables
      stochastic depth.
    survival_schedule: 'linear' or 'uniform', see `survival_probabilities`.
    survival_per: 'batch' or 'sample'.
    dtype: computation dtype.
  """

  num_classes: Classes = 1000
  patch_size: Window = 16
  features: Channels = 768
  depth: Depth = 12
  heads: Channels = 12
  mlp_features: Channels = 3072
  pool: Literal["token", "mean"] = "token"
  width: Width = 1.0
  norm: str = "layer"
  act: str = "gelu"
  dropout: Dropout = 0.0
  attention_dropout: Dropout = 0.0
  survival: Survival = 1.0
  survival_schedule: Literal["linear", "uniform"] = "linear"
  survival_per: Literal["batch", "sample"] = "sample"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes], the tokens after each block and the last one's map."""
    features = self._width()
    check_image(x.shape, self.patch_size, f"vit with patches of {self.patch_size} pixels")
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype, norm_epsilon=EPSILON)
    x = self._embed(x.astype(layers.dtype), features, layers)
    feats = {"patches": x}  # [B,H/P,W/P,C]
    batch, rows, columns, _ = x.shape
    x = self._place(x.reshape(batch, rows * columns, features), train)
    survivals = survival_probabilities(self.depth, self.survival, self.survival_schedule)
    for block, survival in enumerate(survivals, 1):
      x = EncoderBlock(
        layers=layers,
        heads=self.heads,
        mlp_features=scaled(self.mlp_features, self.width),
        dropout=self.dropout,
        attention_dropout=self.attention_dropout,
        drop={"survival": survival, "per": self.survival_per},
        name=f"block{block}",
      )(x, train=train)
      feats[f"block{block}"] = x
    x = layers.norm(name="norm_last")(x)
    feats["last_map"] = x[:, -rows * columns :].reshape(batch, rows, columns, features)
    if not self.num_classes:
      return feats["last_map"], feats
    x = x[:, 0] if self.pool == "token" else x.mean(1)
    feats["pre_logits"] = x
    x = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")(x)
    return x.astype("float32"), feats

  def _width(self) -> int:
    features = scaled(self.features, self.width)
    if features % self.heads:
      raise ConfigError(f"heads: {self.heads} do not divide a width of {features} (features)")
    return features

  def _embed(self, x: jax.Array, features: int, layers: Layers) -> jax.Array:
    return layers.conv(
      features,
      self.patch_size,
      stride=self.patch_size,
      use_bias=True,
      fit="exact",
      kernel_init=nn.initializers.lecun_normal(),
      name="patch_embedding",
    )(x)

  def _place(self, x: jax.Array, train: bool) -> jax.Array:
    """Adds the class token and the position embedding to the patches' tokens [B,N,C]."""
    batch, _, features = x.shape
    if self.pool == "token":
      token = self.param("class_token", nn.initializers.zeros, (1, 1, features))
      token = jnp.broadcast_to(token.astype(x.dtype), (batch, 1, features))
      x = jnp.concatenate([token, x], axis=1)
    positions = self.param("pos_embedding", nn.initializers.normal(0.02), (1, *x.shape[1:]))
    x = x + positions.astype(x.dtype)
    return nn.Dropout(self.dropout, deterministic=not train, name="dropout")(x)


WIDTHS: dict[str, Options] = {
  "ti": {"features": 192, "depth": 12, "heads": 3, "mlp_features": 768},
  "s": {"features": 384, "depth": 12, "heads": 6, "mlp_features": 1536},
  "b": {"features": 768, "depth": 12, "heads": 12, "mlp_features": 3072},
  "l": {"features": 1024, "depth": 24, "heads": 16, "mlp_features": 4096},
}
SIZES: dict[str, Options] = {
  **{
    f"vit_{size}_{patch}": {**options, "patch_size": patch}
    for size, options in WIDTHS.items()
    for patch in (16, 32)
  },
  "vit_h_14": {
    "features": 1280,
    "depth": 32,
    "heads": 16,
    "mlp_features": 5120,
    "patch_size": 14,
  },
}


def build(name: str, **options: OptionValue) -> ViT:
  """Returns the net called `name` with the given options replaced."""
  return ViT(**{**SIZES[name], **options})
