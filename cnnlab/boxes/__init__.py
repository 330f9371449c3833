"""Arithmetic of boxes for detectors: anchors, coding, overlap, matching, sampling, NMS, RoI align.

Boxes are float [..., 4] as (ymin, xmin, ymax, xmax) in pixels, as in `cnnlab.data.features`. Shapes are
static: what varies in number is padded and has a mask. Functions take one image; `jax.vmap` maps
them over a batch.
"""

from cnnlab.boxes.anchors import Anchors
from cnnlab.boxes.coding import decode, encode
from cnnlab.boxes.matching import BACKGROUND, BETWEEN, Thresholds, match
from cnnlab.boxes.overlap import areas, clip, iou, large_enough, paired_iou, shared_areas
from cnnlab.boxes.roi_align import levels_of, roi_align
from cnnlab.boxes.sampling import balanced_sample, chosen
from cnnlab.boxes.suppression import nms

__all__ = [
  "BACKGROUND",
  "BETWEEN",
  "Anchors",
  "Thresholds",
  "areas",
  "balanced_sample",
  "chosen",
  "clip",
  "decode",
  "encode",
  "iou",
  "large_enough",
  "levels_of",
  "match",
  "nms",
  "paired_iou",
  "roi_align",
  "shared_areas",
]
