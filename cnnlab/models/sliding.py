"""A classifier that slides over larger images (CS231n, "Converting FC layers to CONV layers").

    sliding = slide(create_model("alexnet"), (224, 224, 3))
    logits = sliding(variables, images)         # [batch, rows, columns, num_classes]
    log_probabilities = sliding.average(variables, images)  # [batch, num_classes]
    scores = sliding.label_scores(variables, images)  # [batch, height, width, num_classes]

The net's convolutions run once over the whole image; its head, made for the last map of one crop,
is then applied to every window of that size in the larger map, one step of the map apart. Where no
layer pads, this is what the net gives on each crop, at its total stride, exact to rounding. With
padding, it differs in what lies beside a crop: a crop of its own is surrounded by zeros, a window
by the rest of the image (which is the point of dense evaluation, VGG's section 3.2); the head on
each window is exact still. Any head works: fully connected ones, where this is the convolution
that `cnnlab.nn.dense_as_conv` gives the kernels of, and average-pooling ones.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import flax.errors
import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.module import Args, InterceptorContext, Kwargs, NextGetter
from flax.typing import VariableDict
from jax.extend import core

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import WeightNormDense

_GROWTH = 960  # pixels added to an image to measure the step between crops


@dataclasses.dataclass(frozen=True)
class Sliding:
  """A classifier made convolutional; see `slide`.

  Attributes:
    model: the classifier.
    image_shape: (height, width, channels) of the images that it was built for.
    stage: name of its last map among `feats`.
    window: (height, width) of that map on one such image.
    head: (leaves of the variables, maps [1, height, width, channels]) -> logits [1, classes].
    head_modules: paths of dense layers after the map.
  """

  model: nn.Module
  image_shape: tuple[int, int, int]
  stage: str
  window: tuple[int, int]
  head: Callable[..., jax.Array]
  head_modules: frozenset[tuple[str, ...]]

  def __call__(self, variables: VariableDict, images: jax.Array) -> jax.Array:
    """Returns logits [batch, rows, columns, classes] of images of any size from `image_shape` on.

    Raises:
      ShapeError: the images are smaller than a crop.
      ConfigError: the net has parameters that fit one size of image only.
    """
    if min(a - b for a, b in zip(images.shape[1:3], self.image_shape, strict=False)) < 0:
      raise ShapeError(
        f"a classifier of {self.image_shape[0]}x{self.image_shape[1]} pixels cannot slide over "
        f"images of {images.shape[1]}x{images.shape[2]}"
      )
    maps = self._maps(variables, images)
    batch, height, width, channels = maps.shape
    rows, columns = height - self.window[0] + 1, width - self.window[1] + 1
    down = jnp.arange(rows)[:, None] + jnp.arange(self.window[0])
    across = jnp.arange(columns)[:, None] + jnp.arange(self.window[1])
    windows = maps[:, down][:, :, :, across].transpose(0, 1, 3, 2, 4, 5)
    flat = windows.reshape(-1, 1, *self.window, channels)
    logits = jax.vmap(self.head, (None, 0))(jax.tree.leaves(variables), flat)
    return logits.reshape(batch, rows, columns, -1)

  def average(self, variables: VariableDict, images: jax.Array) -> jax.Array:
    """Returns the logarithm of the mean of the windows' probabilities, [batch, classes]."""
    logits = self(variables, images)
    return log_mean_probability(logits.reshape(logits.shape[0], -1, logits.shape[-1]), axis=1)

  def label_scores(self, variables: VariableDict, images: jax.Array) -> jax.Array:
    """Returns scores of each pixel's class, of the crop around it [batch, height, width, classes].

    The first form of segmentation: a pixel has the class of a crop that it is the center of. Crops
    are one step of the map apart, and scores are interpolated bilinearly between their centers. The
    images, of any size, are padded by zeros so that crops reach over their borders.
    """
    sides, steps = self.image_shape[:2], self.steps(variables)
    before = [(side - 1) // 2 for side in sides]
    axes = zip(images.shape[1:3], sides, steps, before, strict=True)
    # The last crop is centered on the last pixel, or beyond it.
    after = [-(-(n - 1) // step) * step + side - n - low for n, side, step, low in axes]
    padding = [(0, 0), *zip(before, after, strict=True), (0, 0)]
    logits = self(variables, jnp.pad(images, padding))
    rows, columns = (
      _interpolation(n, count, step, first=(1 - side % 2) / 2)
      for n, count, step, side in zip(
        images.shape[1:3], logits.shape[1:3], steps, sides, strict=True
      )
    )
    return jnp.einsum("hi,wj,bijc->bhwc", rows, columns, logits)

  def steps(self, variables: VariableDict) -> tuple[int, int]:
    """Returns the pixels between neighboring crops, down and across."""
    height, width, channels = self.image_shape
    larger = jax.ShapeDtypeStruct((1, height + _GROWTH, width + _GROWTH, channels), jnp.float32)
    rows, columns = jax.eval_shape(self, variables, larger).shape[1:3]
    return _GROWTH // (rows - 1), _GROWTH // (columns - 1)

  def _maps(self, variables: VariableDict, images: jax.Array) -> jax.Array:
    def skip(call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
      # The net goes on to its dense layers, which do not fit the larger map; nothing uses them.
      if context.module.path in self.head_modules and isinstance(args[0], jax.Array):
        return jnp.zeros((*args[0].shape[:-1], context.module.features), args[0].dtype)
      return call(*args, **kwargs)

    with nn.intercept_methods(skip):
      try:
        return self.model.apply(variables, images, train=False)[1][self.stage]
      except flax.errors.ScopeParamShapeError as error:
        raise ConfigError(
          f"{type(self.model).__name__} cannot slide: it has parameters that fit one size of image "
          f"only ({error})"
        ) from error


def slide(model: nn.Module, image_shape: tuple[int, int, int]) -> Sliding:
  """Makes a classifier convolutional.

  Args:
    model: a net whose logits follow from the last four-dimensional stage of its `feats`.
    image_shape: (height, width, channels) of the images that it was built for.

  Raises:
    ConfigError: the logits follow from more than the last map, or there is none.
  """
  image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)

  def init(x: jax.Array) -> VariableDict:
    return model.init({"params": jax.random.key(0), "dropout": jax.random.key(0)}, x, train=False)

  variables = jax.eval_shape(init, image)
  stages: dict[str, tuple[int, ...]] = {}

  def forward(variables: VariableDict, x: jax.Array) -> tuple[jax.Array, ...]:
    logits, feats = model.apply(variables, x, train=False)
    stages.update({k: v.shape for k, v in feats.items() if getattr(v, "ndim", 0) == 4})
    if not stages:
      raise ConfigError(f"{type(model).__name__} cannot slide: none of its stages is a map")
    return logits, feats[list(stages)[-1]]

  closed = jax.make_jaxpr(forward)(variables, image)
  stage = list(stages)[-1]
  head, used = _behind(closed, type(model).__name__, stage)
  paths = jax.tree_util.tree_flatten_with_path(variables)[0]
  owners = {tuple(key.key for key in paths[i][0][1:-1]) for i in used}
  dense = _dense_modules(model, variables, image)
  window = (stages[stage][1], stages[stage][2])
  return Sliding(model, image_shape, stage, window, head, frozenset(owners & dense))


def _behind(
  closed: core.ClosedJaxpr, name: str, stage: str
) -> tuple[Callable[..., jax.Array], list[int]]:
  """Returns the part of a trace between the map and the logits, and which variables it uses."""
  jaxpr = closed.jaxpr
  logits, cut = jaxpr.outvars
  *weights, image = jaxpr.invars
  needed, equations = {logits}, []
  for equation in reversed(jaxpr.eqns):
    outs = set(equation.outvars) - {cut}
    if outs & needed:
      equations.append(equation)
      needed |= {v for v in equation.invars if not isinstance(v, core.Literal)}
  if image in needed or cut not in needed:
    raise ConfigError(
      f"{name} cannot slide: its logits do not follow from its last map {stage!r} alone"
    )
  reduced = jaxpr.replace(
    invars=[*weights, cut],
    outvars=[logits],
    eqns=equations[::-1],
    debug_info=jaxpr.debug_info.with_unknown_names(),
  )
  run = core.jaxpr_as_fun(core.ClosedJaxpr(reduced, closed.consts))

  def head(leaves: list[jax.Array], maps: jax.Array) -> jax.Array:
    return run(*leaves, maps)[0]

  return head, [i for i, weight in enumerate(weights) if weight in needed]


def _dense_modules(
  model: nn.Module, variables: VariableDict, image: jax.ShapeDtypeStruct
) -> set[tuple[str, ...]]:
  found = set()

  def record(call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
    if isinstance(context.module, (nn.Dense, WeightNormDense)):
      found.add(context.module.path)
    return call(*args, **kwargs)

  with nn.intercept_methods(record):
    jax.eval_shape(lambda v, x: model.apply(v, x, train=False)[0], variables, image)
  return found


def _interpolation(pixels: int, count: int, step: int, first: float) -> jax.Array:
  """Returns weights [pixels, count] of values at first, first + step, ...; constant beyond."""
  places = jnp.clip((jnp.arange(pixels) - first) / step, 0, count - 1)
  return jnp.maximum(1 - jnp.abs(places[:, None] - jnp.arange(count)), 0)


def log_mean_probability(logits: jax.Array, axis: int) -> jax.Array:
  """Returns the logarithm of softmax probabilities averaged over an axis.

  Taken for logits, its softmax is that average (AlexNet, section 4.1). Classes are the last axis.
  """
  log_probabilities = jax.nn.log_softmax(logits.astype(jnp.float32), axis=-1)
  count = logits.shape[axis]
  return jax.nn.logsumexp(log_probabilities, axis=axis) - jnp.log(count)
