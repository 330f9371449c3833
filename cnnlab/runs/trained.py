"""A trained network with its task and preprocessing: predictions, inputs and embeddings of images."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Collection
from jax import Array

from cnnlab import tasks
from cnnlab.config import upgrade_saved
from cnnlab.data import Preprocess
from cnnlab.data.given import Fitted, GivenImages, fitted
from cnnlab.errors import ConfigError, DataError, unknown
from cnnlab.imports import import_recorded
from cnnlab.runs import checkpoint
from cnnlab.tasks.base import Prediction
from cnnlab.types import Json

Variables: TypeAlias = dict[str, Collection]


class Predicted(NamedTuple):
  """The prediction for one image.

  Attributes:
    name: the image's file, or its position among the images that were given.
    prediction: what the task predicts, in the size of the original image.
  """

  name: str
  prediction: Prediction


@dataclass(frozen=True)
class Trained:
  """A network that is ready for use; neither its data set nor its optimizer is needed.

  Attributes:
    task: makes predictions of the network's output.
    model: `model.apply(variables, inputs, train=False)` returns (out, feats).
    variables: of the checkpoint; averaged parameters where the run keeps them.
    preprocess: turns stored images into inputs, as the network was trained.
    config: of the run, resolved.
  """

  task: tasks.Task
  model: nn.Module
  variables: Variables
  preprocess: Preprocess
  config: Json

  @classmethod
  def restore(cls, directory: Path) -> Trained:
    """Returns the network of the newest good checkpoint below a run or checkpoint directory.

    Raises:
      RunError: there is no checkpoint that can be read.
    """
    saved = checkpoint.restore(directory)
    config = upgrade_saved(saved["about"]["config"])
    import_recorded(config, directory)
    task = tasks.saved_task(config)
    return cls(
      task,
      task.network(config["model"], config["dtype"]),
      checkpoint.variables_of(saved["state"]),
      Preprocess.from_parts(saved["about"]["preprocess"], saved["preprocess"]),
      config,
    )

  @property
  def batch_size(self) -> int:
    """Images that go through the network at once."""
    return int(self.config["eval_batch_size"])

  def inputs(self, images: GivenImages) -> np.ndarray:
    """Returns images as the network takes them: float32 [images, height, width, channels].

    Raises:
      DataError: an image cannot be read, or none is given.
    """
    parts = [self.preprocess.eval(jnp.asarray(stored)) for stored, _ in self._batches(images)]
    return np.concatenate([np.asarray(part) for part in parts])

  def predictions(self, images: GivenImages) -> Iterator[Predicted]:
    """Yields the prediction for each image, in the size of the original image.

    Raises:
      DataError: an image cannot be read, or none is given.
    """
    for stored, group in self._batches(images):
      out = jax.device_get(self._predict(self.variables, padded(stored, self.batch_size)))
      for row, image in enumerate(group):
        one = {name: value[row] for name, value in out.items()}
        view = self.preprocess.view(image.original)
        yield Predicted(image.name, self.task.restore(one, view))

  def embeddings(self, images: GivenImages, layer: str, pooled: bool) -> np.ndarray:
    """Returns a stage of the network's features, float32 [images, ...]; see `Run.embed`.

    Raises:
      ConfigError: the network has no stage of that name; its stages are named.
      DataError: an image cannot be read, or none is given.
    """

    def finish(found: Array) -> Array:
      return found.mean(tuple(range(1, found.ndim - 1))) if pooled else found

    forward = self.stage(layer, finish)
    parts = [
      np.asarray(forward(self.variables, padded(stored, self.batch_size)))[: len(stored)]
      for stored, _ in self._batches(images)
    ]
    return np.concatenate(parts)

  def stages(self) -> dict[str, tuple[int, ...]]:
    """Returns the shape of each stage of the features for a single image, in the network's order."""
    shapes: dict[str, tuple[int, ...]] = {}

    # The order of `feats` is lost in what `eval_shape` returns, so it is recorded while tracing.
    def record(variables: Variables, stored: Array) -> None:
      for name, leaf in self._features(variables, stored).items():
        if hasattr(leaf, "shape"):
          shapes[name] = leaf.shape[1:]

    image = jax.ShapeDtypeStruct((1, *self.stored_shape), jnp.uint8)
    jax.eval_shape(record, self.variables, image)
    return shapes

  def stage(self, layer: str, finish: Callable[[Array], Array]) -> jax.stages.Wrapped:
    """Returns a compiled function of variables and stored images to `finish` of a stage.

    Args:
      layer: name of the stage.
      finish: of its values, float32 [batch, ...]; traceable.

    Raises:
      ConfigError: the network has no stage of that name; its stages are named.
    """
    stages = self.stages()
    if layer not in stages:
      raise ConfigError(unknown("stage of the network", layer, stages))
    return jax.jit(lambda v, stored: finish(self._features(v, stored)[layer].astype(jnp.float32)))

  def outputs(self, variables: Variables, stored: Array) -> dict[str, Array]:
    """Returns what the task predicts for stored images, uint8 [batch, *stored_shape]; traceable."""
    _, out = self.task.evaluate(self.model, variables, self.preprocess, {"image": stored})
    return self.task.predict(out)

  @property
  def stored_shape(self) -> tuple[int, int, int]:
    """Height, width and channels of the images that go into `outputs`."""
    return (*self.preprocess.stored_size, self.preprocess.stored_channels)

  @cached_property
  def _predict(self) -> Callable[[Variables, np.ndarray], dict[str, Array]]:
    return jax.jit(self.outputs)

  def _features(self, variables: Variables, stored: Array) -> dict[str, Any]:
    batch = self.preprocess.eval({"image": stored})
    inputs = self.task.inputs(batch, train=False)
    return dict(self.model.apply(variables, *inputs, train=False)[1])

  def _batches(self, images: GivenImages) -> Iterator[tuple[np.ndarray, tuple[Fitted, ...]]]:
    """Yields images, uint8 [up to `batch_size`, *stored size], and what is known of each."""
    each = fitted(images, self.preprocess.stored_size, self.preprocess.channels)
    empty = True
    while group := tuple(itertools.islice(each, self.batch_size)):
      empty = False
      yield np.stack([image.stored for image in group]), group
    if empty:
      raise DataError("no image is given; allowed: one or more")


def padded(stored: np.ndarray, most: int) -> np.ndarray:
  """Returns a batch filled up to a power of two, so that few batch sizes are compiled."""
  size = min(most, 1 << (len(stored) - 1).bit_length())
  return np.pad(stored, ((0, size - len(stored)), *[(0, 0)] * 3))
