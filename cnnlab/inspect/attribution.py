"""Which pixels a classifier's decision rests on: gradients, occlusion and class activation maps.

Each function explains the logit of one class for each image, by default the predicted one. Inputs
are preprocessed, float32 [batch, height, width, channels], as `Run.preprocess` returns them; zeros are
the training images' mean where the run centers by it. Results are float32.
"""

from __future__ import annotations

from functools import partial
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError
from cnnlab.inspect.network import (
  AnyNetwork,
  Classifier,
  apply,
  class_indices,
  input_gradient,
  logits,
  map_and_gradient,
  require_map,
  with_activation,
)
from cnnlab.types import PyTree

GUIDED = "guided_relu"  # as activation of a network: only its gradient differs


def gradient(
  network: Classifier, inputs: ArrayLike, classes: ArrayLike | None = None
) -> np.ndarray:
  """Returns the gradient of the logit with respect to the input, [batch, height, width, channels].

  Args:
    network: a run, or a `Network`.
    inputs: see above.
    classes: int [batch]; the predicted ones by default.

  Raises:
    ConfigError: the network is no classifier, or the classes do not fit.
  """
  chosen = class_indices(network, inputs, classes)
  found = input_gradient(
    network.model, network.variables, jnp.asarray(inputs, jnp.float32), jnp.asarray(chosen)
  )
  return np.asarray(found)


def saliency(
  network: Classifier, inputs: ArrayLike, classes: ArrayLike | None = None
) -> np.ndarray:
  """Returns the largest absolute gradient over the channels, [batch, height, width].

  Arguments and errors are those of `gradient`. Source: arXiv:1312.6034, section 3.1.
  """
  return np.abs(gradient(network, inputs, classes)).max(axis=-1)


def guided_backpropagation(
  network: Classifier, inputs: ArrayLike, classes: ArrayLike | None = None
) -> np.ndarray:
  """Returns the gradient that keeps positive parts only at each ReLU, [batch, height, width, channels].

  It shows edges that the network sees more than why it decides: in arXiv:1810.03292 it hardly
  changes when upper layers are randomized.

  Arguments are those of `gradient`. Source: arXiv:1412.6806, section 3.4.

  Raises:
    ConfigError: as `gradient` does, or the network has no option `act`, or another activation there.
  """
  guided = with_activation(network.model, GUIDED, guided_relu, "guided backpropagation")
  chosen = class_indices(network, inputs, classes)
  found = input_gradient(
    guided, network.variables, jnp.asarray(inputs, jnp.float32), jnp.asarray(chosen)
  )
  return np.asarray(found)


@jax.custom_vjp
def guided_relu(x: Array) -> Array:
  """Returns max(x, 0), whose gradient passes neither negative inputs nor negative gradients."""
  return jax.nn.relu(x)


def _guided_forward(x: Array) -> tuple[Array, Array]:
  return jax.nn.relu(x), x


def _guided_backward(x: Array, upper: Array) -> tuple[Array]:
  return (jnp.where(x > 0, jax.nn.relu(upper), 0),)


guided_relu.defvjp(_guided_forward, _guided_backward)


def integrated_gradients(
  network: Classifier,
  inputs: ArrayLike,
  classes: ArrayLike | None = None,
  *,
  baseline: ArrayLike = 0.0,
  steps: int = 50,
) -> np.ndarray:
  """Returns each value's share in the logit's difference to a baseline, [batch, height, width, channels].

  The shares of an image sum to that difference, up to the error of the integral.

  Args:
    network, inputs, classes: see `gradient`.
    baseline: input without the object, broadcast to `inputs`.
    steps: points on the line between both, at the middle of equal parts.

  Raises:
    ConfigError: as `gradient` does, or there is no step.

  Source: arXiv:1703.01365, sections 3 and 5.
  """
  if steps < 1:
    raise ConfigError(f"steps is {steps}; allowed: 1 and more")
  end = jnp.asarray(inputs, jnp.float32)
  start = jnp.broadcast_to(jnp.asarray(baseline, jnp.float32), end.shape)
  chosen = jnp.asarray(class_indices(network, inputs, classes))
  total = jnp.zeros_like(end)
  for step in range(steps):
    point = start + (step + 0.5) / steps * (end - start)
    total += input_gradient(network.model, network.variables, point, chosen)
  return np.asarray((end - start) * total / steps)


def occlusion(
  network: Classifier,
  inputs: ArrayLike,
  classes: ArrayLike | None = None,
  *,
  window: int | None = None,
  stride: int | None = None,
  value: float = 0.0,
) -> np.ndarray:
  """Returns by how much the logit falls where a window is covered, [batch, height, width].

  A pixel has the mean over the windows that cover it.

  Args:
    network, inputs, classes: see `gradient`.
    window: side in pixels; by default a quarter of the shorter side of the image.
    stride: pixels between windows, at most `window`; by default half of it. The last window of a
      row ends at the image's edge.
    value: of the covered pixels.

  Raises:
    ConfigError: as `gradient` does, or a window or stride that does not fit.

  Source: arXiv:1311.2901, section 4.2, with the logit in place of the probability.
  """
  images = jnp.asarray(inputs, jnp.float32)
  chosen = class_indices(network, inputs, classes)
  height, width = images.shape[1:3]
  window = max(1, min(height, width) // 4) if window is None else window
  stride = max(1, window // 2) if stride is None else stride
  if not 1 <= stride <= window <= min(height, width):
    raise ConfigError(
      f"window {window} and stride {stride} for images of {height}x{width}; allowed: "
      "1 <= stride <= window <= the shorter side"
    )
  rows = np.arange(len(chosen))
  whole = np.asarray(logits(network, images))[rows, chosen]
  total, count = np.zeros(images.shape[:3], np.float32), np.zeros((height, width), np.float32)
  for top, left in product(_starts(height, window, stride), _starts(width, window, stride)):
    part = np.s_[top : top + window, left : left + window]
    covered = images.at[:, *part].set(value)
    fall = whole - np.asarray(logits(network, covered))[rows, chosen]
    total[:, *part] += fall[:, None, None]
    count[part] += 1
  return total / count


def _starts(size: int, window: int, stride: int) -> list[int]:
  """Returns where windows begin, so that they cover the whole side."""
  last = size - window
  return sorted({*range(0, last, stride), last})


def grad_cam(
  network: Classifier,
  inputs: ArrayLike,
  classes: ArrayLike | None = None,
  *,
  stage: str | None = None,
) -> np.ndarray:
  """Returns the part of a map that speaks for the class, in the size of the input, [batch, height, width].

  The map's channels are added with the mean of their gradient as weights; what is negative is
  dropped, and the sum is resized bilinearly.

  Args:
    network, inputs, classes: see `gradient`.
    stage: of the network's maps, see `cnnlab.inspect.network.maps`; by default the last.

  Raises:
    ConfigError: as `gradient` does, or the network has no such map, or it does not lead to the logits.

  Source: arXiv:1610.02391, section 3.
  """
  images = jnp.asarray(inputs, jnp.float32)
  stage = require_map(network, images.shape[1:], stage)
  chosen = jnp.asarray(class_indices(network, images, classes))
  found, slope = map_and_gradient(network.model, network.variables, images, chosen, stage)
  weights = slope.astype(jnp.float32).mean(axis=(1, 2), keepdims=True)
  heat = jax.nn.relu((found.astype(jnp.float32) * weights).sum(axis=-1))
  return np.asarray(jax.image.resize(heat, images.shape[:3], "bilinear"))


def class_maps(network: AnyNetwork, inputs: ArrayLike) -> np.ndarray:
  """Returns the evidence for each class at each position, [batch, rows, columns, classes].

  For classifiers that average maps of classes, such as All-CNN, whose logits are the means of the
  result (arXiv:1412.6806, table 1), and for networks of segmentation, of whose output it is all.

  Raises:
    ConfigError: the network has no such maps.
  """
  return np.asarray(_class_maps(network.model, network.variables, jnp.asarray(inputs, jnp.float32)))


@partial(jax.jit, static_argnums=0)
def _class_maps(model: nn.Module, variables: VariableDict, inputs: Array) -> Array:
  out, feats = apply(model, variables, inputs)
  found: PyTree = feats.get("class_maps", out)
  if getattr(found, "ndim", 0) != 4:
    raise ConfigError(
      f"{type(model).__name__} has no maps of classes; allowed: networks with a stage 'class_maps', such "
      "as All-CNN, and those of segmentation. grad_cam makes maps of any classifier"
    )
  return found.astype(jnp.float32)
