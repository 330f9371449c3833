"""Linear probes: a linear classifier on any map of a classifier's (arXiv:1610.01644).

    net = create_model("probe_resnet20", num_classes=10, stage="stage2", grid=4)

With the encoder frozen (`optim.groups = ({"pattern": "encoder", "frozen": True},)`) this is a linear
classifier on CNN codes; otherwise it is fine-tuned from that map down. Layers behind the map are
part of the network, so that weights of the whole classifier start it, but they are not computed.
"""

from __future__ import annotations

from typing import Annotated

import jax
from flax import linen as nn

from cnnlab.annotations import Between
from cnnlab.errors import ConfigError, unknown
from cnnlab.models.decoder import around, encoder_layers, measured_maps, split_name
from cnnlab.models.ranges import Classes
from cnnlab.nn.init import classifier_normal
from cnnlab.nn.pool import adaptive_avg_pool
from cnnlab.types import Options, OptionValue

# Regions along each side that a map is averaged over; 0 keeps every position.
Grid = Annotated[int, Between(0, 1000)]


def codes(stage: jax.Array, grid: int = 1) -> jax.Array:
  """Returns a stage of a network as a vector for each image, float32 [batch, size].

  Args:
    stage: a map [batch, height, width, channels], tokens [batch, tokens, channels], or vectors
      [batch, channels], which stay as they are.
    grid: a map is averaged over `grid` x `grid` regions and flattened; 1 is the mean over all
      positions, of tokens as well, and 0 flattens everything.

  Raises:
    ConfigError: the map has fewer positions than regions, or tokens are to lie on a grid.
  """
  if grid and stage.ndim > 2:
    if grid > min(stage.shape[1:-1]) or (stage.ndim == 3 and grid > 1):
      sides = "x".join(map(str, stage.shape[1:-1]))
      most = 1 if stage.ndim == 3 else min(stage.shape[1:3])
      raise ConfigError(
        f"grid is {grid}, and the stage has {sides} positions; allowed: 0 to {most}"
      )
    stage = stage.mean(1) if stage.ndim == 3 else adaptive_avg_pool(stage, grid)
  return stage.reshape(len(stage), -1).astype("float32")


class Probe(nn.Module):
  """An encoder and a linear classifier on one of its maps.

  Attributes:
    encoder: a network without classifier, see `cnnlab.models.create_encoder`.
    num_classes: number of classes.
    stage: name of the map; empty for the last one.
    grid: regions along each side of the map, see `codes`.
  """

  encoder: nn.Module
  num_classes: Classes = 1000
  stage: str = ""
  grid: Grid = 1

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns logits [batch, num_classes] and the encoder's maps; the codes are `pre_logits`."""
    maps = [m.name for m in measured_maps(self.encoder.clone(parent=None, name=None), x.shape[1:])]
    if self.stage and self.stage not in maps:
      raise ConfigError(unknown("value of option 'stage' of a probe", self.stage, maps))
    layers = encoder_layers(self.encoder, train=train)
    _, feats = self.encoder(x, train=train)
    found = codes(feats[self.stage or maps[-1]], self.grid)
    head = layers.dense(self.num_classes, kernel_init=classifier_normal(), name="head")
    return head(found).astype("float32"), feats | {"pre_logits": found}


DECODERS: dict[str, Options] = {"probe": {}}
SIZES: tuple[str, ...] = ()  # any classifier: probe_resnet20, probe_vgg19, ...


def build(name: str, **options: OptionValue) -> Probe:
  """Returns the net called `name` with the given options replaced."""
  return around(Probe, split_name(name, DECODERS)[1], {}, options)
