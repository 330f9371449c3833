"""Assignment of anchors or proposals to true boxes by their overlap."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

BACKGROUND = -1  # matches no box
BETWEEN = -2  # neither box nor background


class Thresholds(NamedTuple):
  """What overlap (IoU) makes an anchor a box's, or background.

  Attributes:
    foreground: at least this much is a match.
    background: less than this is background; what is between both is neither.
    allow_low_quality_matches: a box's best anchors, ties included, are matches at any overlap.
  """

  foreground: float
  background: float
  allow_low_quality_matches: bool = False


RPN = Thresholds(0.7, 0.3, allow_low_quality_matches=True)  # arXiv:1506.01497, 3.1.2
BOX_HEAD = Thresholds(0.5, 0.5)  # Fast R-CNN's, in torchvision's form
RETINANET = Thresholds(0.5, 0.4, allow_low_quality_matches=True)  # arXiv:1708.02002, section 4


def match(overlaps: jax.Array, valid: jax.Array, thresholds: Thresholds) -> jax.Array:
  """Returns the box of each anchor, int32 [anchors]: its index, `BACKGROUND` or `BETWEEN`.

  The rules are torchvision's `Matcher`: an anchor belongs to the box that it overlaps most, the
  first of equals. This also holds for an anchor that is another box's best. Deviation: a box that
  overlaps no anchor has no match, where torchvision would give it all anchors that miss it.

  Args:
    overlaps: [boxes, anchors].
    valid: mask [boxes] of those that are not padding; without any, all anchors are background.
    thresholds: of the overlap.
  """
  overlaps = jnp.where(valid[:, None], overlaps, -1)
  best, most = overlaps.argmax(0).astype(jnp.int32), overlaps.max(0)
  found = jnp.where(most < thresholds.foreground, BETWEEN, best)
  found = jnp.where(most < thresholds.background, BACKGROUND, found)
  if not thresholds.allow_low_quality_matches:
    return found
  highest = overlaps.max(1, keepdims=True)
  is_best = ((overlaps == highest) & (highest > 0)).any(0)
  return jnp.where(is_best, best, found)
