"""Scores and losses of boxes by loops over single boxes, as the papers state them."""

import math

import numpy as np

from tests.boxes import naive


def rows(rng, images=6, most=5, found=8, classes=3, size=64.0):
  """Random truth, and boxes that are often near it, as `Detection.collect` returns them."""
  true = np.stack([naive.boxes(rng, most, size) for _ in range(images)])
  boxes = np.stack([naive.boxes(rng, found, size) for _ in range(images)])
  near = rng.integers(0, most, (images, found))
  close = true[np.arange(images)[:, None], near] + rng.normal(0, 2, (images, found, 4))
  use = rng.random((images, found)) < 0.7
  boxes = np.where(use[..., None], close, boxes)
  boxes[..., 2:] = np.maximum(boxes[..., 2:], boxes[..., :2] + 0.5)
  labels = rng.integers(0, classes, (images, most))
  own = np.where(
    rng.random((images, found)) < 0.7,
    labels[np.arange(images)[:, None], near],
    rng.integers(0, classes, (images, found)),
  )
  valid = rng.random((images, most)) < 0.8
  return {
    "true_boxes": true.astype(np.float32),
    "true_labels": labels,
    "true_valid": valid,
    "true_crowd": valid & (rng.random((images, most)) < 0.15),
    "boxes": boxes.astype(np.float32),
    # Two digits make ties.
    "scores": rng.random((images, found)).round(2).astype(np.float32),
    "labels": own,
    "valid": rng.random((images, found)) < 0.9,
  }


def side(box):
  return math.sqrt((box[2] - box[0]) * (box[3] - box[1]))


def crowd_overlap(box, crowd):
  """COCO: intersection over the area of the box that was found."""
  height = max(0.0, min(box[2], crowd[2]) - max(box[0], crowd[0]))
  width = max(0.0, min(box[3], crowd[3]) - max(box[1], crowd[1]))
  return height * width / side(box) ** 2


def coco_ap(data, label, threshold, low, high):
  """Returns COCO's average precision of a class at an IoU, of boxes with sides in (low, high]."""
  marks, objects = [], 0
  for i in range(len(data["valid"])):
    truth = []  # (box, whether it is ignored, whether it is a crowd)
    for j in np.flatnonzero(data["true_valid"][i] & (data["true_labels"][i] == label)):
      box, crowd = data["true_boxes"][i, j].astype(float), bool(data["true_crowd"][i, j])
      truth.append((box, crowd or not low <= side(box) <= high, crowd))
    truth.sort(key=lambda one: one[1])
    objects += sum(not ignored for _, ignored, _ in truth)
    mine = np.flatnonzero(data["valid"][i] & (data["labels"][i] == label))
    taken = set()
    for k in sorted(mine, key=lambda k: -data["scores"][i, k]):
      box, best, most = data["boxes"][i, k].astype(float), None, threshold
      for j, (other, ignored, crowd) in enumerate(truth):
        if j in taken and not crowd:
          continue
        if best is not None and not truth[best][1] and ignored:
          break
        overlap = crowd_overlap(box, other) if crowd else naive.iou(box, other)
        if overlap >= most:
          best, most = j, overlap
      if best is not None:
        taken.add(best)
        if not truth[best][1]:
          marks.append((data["scores"][i, k], True))
      elif low <= side(box) <= high:
        marks.append((data["scores"][i, k], False))
  if not objects:
    return None
  marks.sort(key=lambda mark: -mark[0])
  points, hits = [], 0
  for count, (_, right) in enumerate(marks, start=1):
    hits += right
    points.append((hits / objects, hits / count))
  levels = [i / 100 for i in range(101)]
  return sum(max([p for r, p in points if r >= level], default=0.0) for level in levels) / 101


def voc_ap(data, label):
  """Returns PASCAL VOC's average precision of a class: the area, with precision made monotonic."""
  marks, objects, taken = [], 0, set()
  for i in range(len(data["valid"])):
    own = np.flatnonzero(data["true_valid"][i] & (data["true_labels"][i] == label))
    objects += sum(not data["true_crowd"][i, j] for j in own)
    for k in np.flatnonzero(data["valid"][i] & (data["labels"][i] == label)):
      marks.append((float(data["scores"][i, k]), i, k, own))
  points, hits, count = [(0.0, 0.0)], 0, 0
  for _, i, k, own in sorted(marks, key=lambda mark: -mark[0]):
    overlaps = [naive.iou(data["boxes"][i, k], data["true_boxes"][i, j]) for j in own]
    best = int(np.argmax(overlaps)) if len(own) else -1
    right = False
    if best >= 0 and overlaps[best] >= 0.5:
      if data["true_crowd"][i, own[best]]:
        continue
      right = (i, own[best]) not in taken
      taken.add((i, own[best]))
    hits, count = hits + right, count + 1
    points.append((hits / objects if objects else 0.0, hits / count))
  area = 0.0
  for n in range(1, len(points)):
    area += (points[n][0] - points[n - 1][0]) * max(p for _, p in points[n:])
  return area if objects else None
