"""R-CNN and Fast R-CNN: a class and a box for each proposal that comes with an image.

R-CNN (arXiv:1311.2524) crops every proposal from the image and sends it through the trunk. Fast R-CNN
(arXiv:1504.08083) sends the image through once, and takes each proposal from its map. Both have the
trunk, the map and the head of `cnnlab.models.faster_rcnn`, so that they differ in this alone, and that
makes its own proposals. Deviations: the head is trained with the trunk in R-CNN, too, in place of
support vector machines, and RoI align replaces RoI pooling.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from cnnlab.boxes import roi_align
from cnnlab.errors import ConfigError
from cnnlab.models.decoder import Maps, around
from cnnlab.models.faster_rcnn import BINS, BoxHead, TwoStage
from cnnlab.models.fpn import SAMPLING, Dense, DetectionNet, Pyramid, Select
from cnnlab.models.ranges import Channels
from cnnlab.nn.layers import Layers
from cnnlab.types import OptionValue

NO_PROPOSALS = Dense((), (), ())


class RegionNet(DetectionNet):
  """Classes and boxes of proposals.

  Attributes:
    hidden: outputs of the head's fully connected layers.
    regions: 'align' takes proposals from the maps of the image (Fast R-CNN); 'crop' from the image
      (R-CNN), in a size that has a map of 7x7.
    others: see `DetectionNet`; 'crop' needs `one_map`.
  """

  hidden: Channels = 1024
  regions: Literal["align", "crop"] = "align"

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    boxes: jax.Array,
    valid: jax.Array,
    select: Select | None = None,
    *,
    train: bool,
  ) -> tuple[TwoStage, Maps]:
    """Returns the results for each box, and the maps of encoder and pyramid.

    Args:
      x: images.
      boxes: proposals, [batch, n, 4] in pixels.
      valid: mask [batch, n] of those that are not padding.
      select: see `FasterRCNN`.
      train: whether to train.

    Raises:
      ConfigError: proposals are cropped, and `one_map` is 0.
    """
    if select is not None:
      boxes, valid = select(boxes, valid, self.make_rng(SAMPLING))
    boxes = lax.stop_gradient(boxes)
    layers = self.layers(train=train)
    take = self._cropped if self.regions == "crop" else self._aligned
    aligned, pyramid = take(x, boxes, layers, train=train)
    head = BoxHead(layers, self.hidden, self.num_classes, name="box")
    return TwoStage(NO_PROPOSALS, boxes, valid, *head(aligned)), pyramid.feats

  def _aligned(
    self, x: jax.Array, boxes: jax.Array, layers: Layers, *, train: bool
  ) -> tuple[jax.Array, Pyramid]:
    """Returns maps [batch, n, 7, 7, features] of boxes."""
    pyramid = self.pyramid(x, layers, "nothing", train=train)
    align = partial(roi_align, strides=pyramid.strides, size=BINS)
    return jax.vmap(align)(pyramid.maps, boxes), pyramid

  def _cropped(
    self, x: jax.Array, boxes: jax.Array, layers: Layers, *, train: bool
  ) -> tuple[jax.Array, Pyramid]:
    if not self.one_map:
      raise ConfigError(
        "config key 'model.regions' is 'crop', which needs the map of one stride: set model.one_map"
      )
    # Bilinear, one point a pixel: RoI align on the image itself, whose pixels have their centers at
    # whole numbers there.
    crop = partial(roi_align, strides=(1,), size=BINS * self.one_map, sampling_ratio=1)
    crops = jax.vmap(lambda image, boxes: crop((image,), boxes - 0.5))(x, boxes)
    pyramid = self.pyramid(crops.reshape(-1, *crops.shape[2:]), layers, "nothing", train=train)
    return pyramid.maps[0].reshape(*boxes.shape[:2], *pyramid.maps[0].shape[1:]), pyramid


def region_net(trunk: str, **options: OptionValue) -> RegionNet:
  """Returns a region network around a classifier of the zoo.

  Args:
    trunk: name of the classifier.
    options: of both.

  Raises:
    ConfigError: an unknown model or option.
  """
  return around(RegionNet, trunk, {}, options)


def whole_image(x: jax.Array, count: int) -> tuple[jax.Array, jax.Array]:
  """Returns boxes [batch, count, 4] that show whole images, and their mask."""
  box = jnp.array([0, 0, *x.shape[1:3]], jnp.float32)
  return jnp.tile(box, (len(x), count, 1)), jnp.ones((len(x), count), bool)
