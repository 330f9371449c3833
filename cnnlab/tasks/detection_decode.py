"""From what a detector computes to boxes, in static shapes: torchvision's steps and their order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from cnnlab.boxes import clip, decode, large_enough, nms
from cnnlab.boxes.coding import BOX_HEAD as HEAD_WEIGHTS
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import Dense

SMALLEST = 1e-2  # side of a box of the second stage, in pixels
TOGETHER = 8  # most images whose candidates are compared at once; each takes a mask [n, n]

Size = tuple[int, int]


class Detections(NamedTuple):
  """What was found in the images of a batch, by decreasing score.

  Attributes:
    boxes: float32 [batch, most, 4] in pixels of the network's input.
    scores: float32 [batch, most].
    classes: int32 [batch, most], 0 for background.
    valid: bool [batch, most], what is not padding.
  """

  boxes: Array
  scores: Array
  classes: Array
  valid: Array


@dataclasses.dataclass(frozen=True)
class Decoding:
  """How boxes are chosen.

  Attributes:
    score_threshold: a score must be over it.
    overlap: IoU above which a box is dropped for a better one of its class.
    candidates: largest number of boxes of each map (one stage), or in all (two stages), that are
      compared. torchvision does not limit the latter.
    most: number of boxes that are returned.
  """

  score_threshold: float = 0.05
  overlap: float = 0.5
  candidates: int = 1000
  most: int = 100

  def __call__(self, out: Dense | TwoStage, size: Size) -> Detections:
    """Returns the boxes in images of (height, width) `size`."""
    if isinstance(out, TwoStage):
      return _each(partial(self._two_stages, size=size), tuple(out[1:]))
    anchors = [jnp.asarray(one) for one in out.anchors]

    def of_image(one: tuple[tuple[Array, ...], tuple[Array, ...]]) -> Detections:
      maps = zip(*one, anchors, strict=True)
      return self._best([self._of_map(*parts, size) for parts in maps])

    return _each(of_image, (out.logits, out.offsets))

  def _of_map(self, logits: Array, offsets: Array, anchors: Array, size: Size) -> Detections:
    """Returns the candidates of a map."""
    scores, index, classes = self._candidates(jax.nn.sigmoid(logits))
    boxes = clip(decode(offsets[index], anchors[index]), size)
    return Detections(boxes, scores, classes, scores > self.score_threshold)

  def _two_stages(self, one: tuple[Array, ...], size: Size) -> Detections:
    boxes, valid, logits, offsets = one
    probability = jnp.where(valid[:, None], jax.nn.softmax(logits), 0)
    scores, index, classes = self._candidates(probability.at[:, 0].set(0))
    found = clip(decode(offsets[index, classes], boxes[index], HEAD_WEIGHTS), size)
    kept = (scores > self.score_threshold) & large_enough(found, SMALLEST)
    return self._best([Detections(found, scores, classes, kept)])

  def _candidates(self, scores: Array) -> tuple[Array, Array, Array]:
    """Returns the best of scores [n, classes], with their rows and classes."""
    best, place = lax.top_k(scores.ravel(), min(self.candidates, scores.size))
    return best, place // scores.shape[1], (place % scores.shape[1]).astype(jnp.int32)

  def _best(self, parts: list[Detections]) -> Detections:
    """Returns the `most` best candidates that overlap no better one of their class."""
    boxes, scores, classes, valid = (jnp.concatenate(one) for one in zip(*parts, strict=True))
    kept, mask = nms(boxes, scores, valid, self.overlap, self.most, classes)
    return Detections(
      jnp.where(mask[:, None], boxes[kept], 0),
      jnp.where(mask, scores[kept], 0),
      jnp.where(mask, classes[kept], 0),
      mask,
    )


def _each(function: Callable, arrays: tuple) -> Detections:
  """Returns what a function makes of each image, a few images at a time."""
  # A divisor, since a remainder would be compiled by itself.
  together = math.gcd(TOGETHER, jax.tree.leaves(arrays)[0].shape[0])
  return lax.map(function, arrays, batch_size=together)
