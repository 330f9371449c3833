"""Windows over an image: as proposals, and the detector that a classifier becomes by them."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import VariableDict

from cnnlab.boxes import nms
from cnnlab.models.sliding import Sliding

Size = tuple[int, int]


def windows(size: Size, sides: Sequence[float], step: float = 0.5) -> np.ndarray:
  """Returns square windows, float32 [n, 4], by side, row and column; the coarsest first.

  Args:
    size: (height, width) of the image.
    sides: of the windows in pixels; those that do not fit are left out.
    step: between neighbors, as a share of the side.
  """
  found = [np.zeros((0, 4))]
  for side in sorted(sides, reverse=True):
    starts = [np.arange(0, whole - side + 1e-6, side * step) for whole in size]
    top, left = np.meshgrid(*starts, indexing="ij")
    corner = np.stack([top.ravel(), left.ravel()], 1)
    found.append(np.concatenate([corner, corner + side], axis=1))
  return np.concatenate(found).astype(np.float32)


def detect_by_sliding(
  sliding: Sliding,
  variables: VariableDict,
  image: jax.Array,
  background: int,
  *,
  scales: Sequence[float] = (1.0,),
  threshold: float = 0.5,
  overlap: float = 0.3,
  most: int = 100,
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """Returns what a classifier finds that slides over an image at several scales; traceable.

  Args:
    sliding: the classifier; see `cnnlab.models.slide`. One of its classes is background.
    variables: the classifier's.
    image: as the classifier takes it, [height, width, channels].
    background: index of that class.
    scales: factors by which the image is resized; those that leave less than one window are skipped.
    threshold: least probability of a class.
    overlap: IoU above which a window is dropped for a better one of its class.
    most: number of windows that are returned.

  Returns:
    (boxes [most, 4] in pixels of the image, probabilities, classes, mask of what is not padding).
  """
  boxes, scores, classes = [], [], []
  side, step = np.array(sliding.image_shape[:2]), np.array(sliding.steps(variables))
  for scale in scales:
    size = [round(whole * scale) for whole in image.shape[:2]]
    if min(size[0] - side[0], size[1] - side[1]) < 0:
      continue
    resized = jax.image.resize(image, (*size, image.shape[2]), "bilinear")
    probability = jax.nn.softmax(sliding(variables, resized[None])[0])
    rows, columns = probability.shape[:2]
    corner = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1) * step
    whole = np.concatenate([corner, corner + side], axis=-1).reshape(-1, 4)
    back = np.tile(np.array(image.shape[:2]) / size, 2)
    boxes.append(jnp.asarray(whole * back, jnp.float32))
    objects = probability.reshape(rows * columns, -1).at[:, background].set(0)
    scores.append(objects.max(-1))
    classes.append(objects.argmax(-1))
  every = jnp.concatenate(boxes), jnp.concatenate(scores), jnp.concatenate(classes)
  kept, mask = nms(every[0], every[1], every[1] >= threshold, overlap, most, every[2])
  return every[0][kept], every[1][kept], every[2][kept], mask
