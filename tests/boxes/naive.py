"""Loops over single boxes, as the papers and torchvision's documentation state the rules."""

import math

import numpy as np


def boxes(rng, count, size=100.0):
  """Random boxes [count, 4] of an image with sides of `size` pixels."""
  low = rng.uniform(0, 0.8 * size, (count, 2))
  return np.concatenate([low, low + rng.uniform(1, 0.5 * size, (count, 2))], 1).astype(np.float32)


def iou(a, b):
  height = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
  width = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
  union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - height * width
  return height * width / union if union > 0 else 0.0


def match(overlaps, foreground, background, low_quality):
  found = []
  for column in overlaps.T:
    best = int(column.argmax()) if len(column) else -1
    most = column[best] if len(column) else 0.0
    found.append(best if most >= foreground else -2 if most >= background else -1)
  if low_quality:
    for row in overlaps:
      for j, value in enumerate(row):
        if value == row.max() > 0:
          found[j] = int(overlaps[:, j].argmax())
  return found


def nms(boxes, scores, threshold, classes):
  kept = []
  for i in sorted(range(len(boxes)), key=lambda i: -scores[i]):
    rivals = [j for j in kept if classes[j] == classes[i]]
    if all(iou(boxes[j], boxes[i]) <= threshold for j in rivals):
      kept.append(i)
  return kept


def sample(image, y, x):
  height, width, channels = image.shape
  if y < -1 or y > height or x < -1 or x > width:
    return np.zeros(channels)
  y, x = min(max(y, 0), height - 1), min(max(x, 0), width - 1)
  top, left = int(y), int(x)
  bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
  b, r = y - top, x - left
  upper = (1 - r) * image[top, left] + r * image[top, right]
  return (1 - b) * upper + b * ((1 - r) * image[bottom, left] + r * image[bottom, right])


def roi_align(maps, boxes, strides, size, ratio):
  out = np.zeros((len(boxes), size, size, maps[0].shape[2]))
  for n, box in enumerate(boxes):
    side = math.sqrt(max(box[2] - box[0], 0) * max(box[3] - box[1], 0))
    wanted = math.floor(4 + math.log2(side / 224) + 1e-6) if side > 0 else -math.inf
    level = min(max(wanted - math.log2(strides[0]), 0), len(maps) - 1)
    y0, x0, y1, x1 = box / strides[int(level)]
    step = max(y1 - y0, 1) / size, max(x1 - x0, 1) / size
    for p, q in np.ndindex(size, size):
      points = [
        (y0 + (p + (i + 0.5) / ratio) * step[0], x0 + (q + (j + 0.5) / ratio) * step[1])
        for i, j in np.ndindex(ratio, ratio)
      ]
      out[n, p, q] = np.mean([sample(maps[int(level)], *point) for point in points], 0)
  return out
