"""The contract between the train loop and a kind of problem.

A task is one file: a frozen dataclass that derives from `Task`. It names the features that it
needs, builds the network around the encoder, and owns loss, metrics, predictions and pictures. The
loop, the steps, `bench`, `eval` and `predict` call what stands here and know no task by name.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.panels import PREDICTED
from cnnlab.tasks.analysis import Analysis
from cnnlab.types import Json, JsonMapping, PyTree

Batch = Mapping[str, Array]
Sums = dict[str, Array]
HostSums = Mapping[str, Array | np.ndarray | float]  # the sums of a split, on the host
Output: TypeAlias = PyTree  # what a network returns for a batch: an array, or a tree of them
Features = Mapping[str, PyTree]  # a network's intermediate results by the names of its stages
Prediction = dict[str, np.ndarray]
# Name of a label or label map -> how often each class occurs in each training example, int64
# [examples, classes]
LabelCounts = Callable[[str], np.ndarray]
MetricValue = float | None | Mapping[str, float | None]


class Loss(NamedTuple):
  """A loss with its own weighting.

  The training step minimizes the sum of `total` over devices and micro-batches, divided by the sum
  of `weight`, so that ignored pixels or padded boxes count for nothing.

  Attributes:
    total: weighted sum of the losses of the batch, float32 scalar.
    weight: sum of the weights, which must not depend on the parameters.
  """

  total: Array
  weight: Array | float


class FeatureSpec(Protocol):
  """What a task reads of a feature of the data set; see `cnnlab.data.features.Feature`."""

  @property
  def kind(self) -> str:
    """Kind of the feature, such as 'image' or 'label'."""

  @property
  def names(self) -> tuple[str, ...]:
    """Class names of a 'label', a 'label_map' or 'boxes'."""


class View(Protocol):
  """The way back from a network's input to the image that it was made of."""

  def restore(self, array: np.ndarray, order: str = "nearest") -> np.ndarray:
    """Returns [height, width, ...] in the size of the original image."""

  def restore_boxes(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Returns boxes [n, 4] in pixels of the original image, from an input of (height, width) `size`."""


class Accumulator(Protocol):
  """A metric that needs a whole split on the host, such as mean average precision."""

  def add(self, rows: Mapping[str, np.ndarray]) -> None:
    """Takes what `Task.collect` returned for a batch, without its padded examples."""

  def result(self) -> dict[str, MetricValue]:
    """Returns metrics by name, over all examples that were added."""


class Views(Protocol):
  """The crops of an image that an evaluation sees; see `cnnlab.data.views.EvalViews`."""

  @property
  def mirrored(self) -> bool:
    """Whether the mirror image of each crop is seen too."""

  def windows(self, size: tuple[int, int]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Returns top and left of each crop of an image of a size, and their own size."""


class Preprocessing(Protocol):
  """What an evaluation needs of `cnnlab.data.Preprocess`."""

  @property
  def stored_size(self) -> tuple[int, int]:
    """(height, width) of the images that come in."""

  @property
  def image_size(self) -> tuple[int, int]:
    """(height, width) of the network's input in training."""

  @property
  def mix(self) -> Sequence[object]:
    """How whole training batches are mixed; empty: not at all."""

  @property
  def eval_crops(self) -> str:
    """Which crops an evaluation sees; 'center' is one."""

  @property
  def eval_scales(self) -> tuple[float, ...]:
    """At which sizes an evaluation sees an image, as factors."""

  @property
  def views(self) -> Views:
    """Which parts of an image an evaluation sees."""

  def eval(self, batch: Batch) -> Batch:
    """Returns the batch with images as the network takes them."""

  def eval_views(self, images: Array) -> Array:
    """Returns the crops that an evaluation sees, and their mirror images, [views, batch, ...]."""

  def normalize(self, images: Array) -> Array:
    """Returns whole images as the network takes them."""


class Task(abc.ABC):
  """Loss, metrics and predictions of one kind of problem.

  Class attributes:
    Settings: frozen dataclass of the task's keys in the config's `task` section, besides `name`.
    needs: {name: kind} of the features that the data set must have.
    metrics: every metric, declared once; consoles, reports and verdicts read the declarations.
    main_metric: name of the metric that decides which checkpoint is best.
    streams: random streams of the forward pass in training, beside the parameters'.
    measures_training: whether `metric_sums` are computed in training steps too.
    evaluation_keys: settings that may change in an evaluation of a trained network.
    predicts_from: the files that predictions are made of: 'images', or 'games' of Go.
  """

  Settings: ClassVar[type]
  needs: ClassVar[Mapping[str, str]] = {"image": "image"}
  metrics: ClassVar[tuple[Metric, ...]] = ()
  main_metric: ClassVar[str]
  streams: ClassVar[tuple[str, ...]] = ("dropout",)
  measures_training: ClassVar[bool] = True
  evaluation_keys: ClassVar[tuple[str, ...]] = ()
  predicts_from: ClassVar[Literal["images", "games"]] = "images"

  @classmethod
  @abc.abstractmethod
  def create(cls, settings: Any, features: Mapping[str, FeatureSpec]) -> Task:
    """Returns the task for a data set.

    Args:
      settings: an instance of `Settings`.
      features: of the data set; those of `needs` are present and of the right kind.

    Raises:
      ConfigError: a setting that makes no sense.
    """

  def fitted(self, label_counts: LabelCounts) -> Task:
    """Returns the task with what it takes from the training examples, such as weights of classes.

    Called once, before training or an evaluation; a prediction does without.

    Args:
      label_counts: counts what it is asked for; a task that does not ask costs nothing.

    Raises:
      DataError: the examples do not have what it needs.
    """
    return self

  @property
  def derived(self) -> JsonMapping:
    """What a run's config.json tells of the task beside its settings and metrics."""
    return {}

  @property
  def best_by(self) -> tuple[str, str]:
    """Name of the main metric as metrics.jsonl has it, and 'min' or 'max'."""
    declared = {metric.name: metric for metric in self.metrics}
    return f"eval/{self.main_metric}", declared[self.main_metric].better

  # The network and its passes.

  @abc.abstractmethod
  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the network: the encoder that `options` names, and the task's head around it.

    Args:
      options: the config's `model` section: `name` and options of that model.
      dtype: of the activations.

    Raises:
      ConfigError: an unknown model or option, or one that does not fit the task.
    """

  def check(self, out: Output, preprocess: Preprocessing) -> None:  # noqa: B027, any will do
    """Raises ConfigError where the network's output or the preprocessing does not fit the task.

    Args:
      out: shapes of what the network returns for one image.
      preprocess: of the run.
    """

  def inputs(self, batch: Batch, *, train: bool) -> tuple[PyTree, ...]:
    """Returns the positional arguments of the network for a preprocessed batch.

    In training these may include the ground truth (to sample proposals, say); in evaluation and
    prediction only the image is there.
    """
    return (batch["image"],)

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Output]:
    """Returns the preprocessed batch and the network's output in evaluation; traceable.

    Raises:
      ConfigError: several crops of an image are asked for, which this task cannot merge.
    """
    require_center(preprocess)
    batch = preprocess.eval(batch)
    return batch, model.apply(variables, *self.inputs(batch, train=False), train=False)[0]

  # Loss and metrics.

  @abc.abstractmethod
  def loss(self, out: Output, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the training loss.

    Args:
      out, feats: what the network returned.
      batch: preprocessed.
      params: the network's parameters, for penalties.
    """

  def metric_sums(self, out: Output, batch: Batch, mask: Array) -> Sums:
    """Returns sums over the examples whose mask is 1 (float32, [batch]); `count` is among them.

    Metrics are sums, never means, so that an evaluation in batches of any size, the last one
    padded and masked, counts every example exactly once.
    """
    return {"count": jnp.sum(mask)}

  @abc.abstractmethod
  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns the metrics that follow from sums over all examples, and `count`.

    A metric per class is a dict of class name -> value; None where it is not defined, such as
    the IoU of a class that occurs nowhere.
    """

  def collect(self, out: Output, batch: Batch) -> dict[str, Array]:
    """Returns arrays [batch, ...] that `accumulator` needs of each evaluated example; traceable."""
    return {}

  def example_metrics(self, out: Output, batch: Batch) -> dict[str, Array]:
    """Returns what is kept of each evaluated example, as arrays [batch, ...]; traceable.

    A metric that is a mean over examples has its name there, so that intervals can be made over
    the examples too.
    """
    return {}

  def accumulator(self) -> Accumulator | None:
    """Returns a fresh host accumulator for a split, None where device sums suffice."""
    return None

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis | None:
    """Returns what is known of an evaluation beside its metrics; None if the task tells nothing.

    `cnnlab eval` and the report of a run show it: tables, figures, and examples to look at.

    Args:
      examples: {name: array [n, ...]} of `example_metrics` for a whole split.
    """
    return None

  # Predictions.

  @abc.abstractmethod
  def predict(self, out: Output) -> dict[str, Array]:
    """Returns what a user wants to see of the output, as arrays [batch, ...]; traceable."""

  def restore(self, prediction: Prediction, view: View) -> Prediction:
    """Returns the prediction of one image in the size of the original image."""
    return prediction

  @abc.abstractmethod
  def to_json(self, prediction: Prediction) -> Json:
    """Returns the prediction of one image as JSON values."""

  @abc.abstractmethod
  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the prediction of one image as cells of a table, the most important first."""

  def results(self, names: Sequence[str], predictions: Sequence[Prediction]) -> Any:
    """Returns the predictions for several images in the form that suits a notebook best.

    Args:
      names: of the images.
      predictions: one for each.
    """
    return list(predictions)

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray | None:
    """Returns a picture of the prediction, uint8 [height, width, 3]; None if there is none.

    Args:
      image: uint8 [height, width, channels].
      prediction: of that image, in its size.
    """
    return None

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns pictures, uint8 [height, width, 3], to be shown beside each other, by their titles.

    That of the prediction is `PREDICTED`; the others, such as the image, its truth and a legend, are
    the same for every network. Empty where nothing is drawn.

    Args:
      example: the features of an example of the data set as an evaluation sees them.
      prediction: of that example, as `predict` returned it.
    """
    picture = self.draw(example["image"], prediction)
    return {} if picture is None else {PREDICTED: picture}


def require_center(preprocess: Preprocessing) -> None:
  """Raises ConfigError where several crops of an image are asked for, which a task cannot merge."""
  if preprocess.eval_crops != "center":
    raise ConfigError(
      f"config key 'data.eval_crops' is {preprocess.eval_crops!r}, which is for classifiers; "
      "use 'center'"
    )


def num_examples(batch: Mapping[str, Array | np.ndarray]) -> int:
  """Returns the number of examples in a batch."""
  return next(iter(batch.values())).shape[0]


def flat_metrics(metrics: Mapping[str, MetricValue]) -> dict[str, float | None]:
  """Returns metrics per class as `name/class`; a value that is not a number becomes None there."""
  flat: dict[str, float | None] = {}
  for name, value in metrics.items():
    if isinstance(value, Mapping):
      for label, one in value.items():
        flat[f"{name}/{label}"] = None if one is None or not np.isfinite(one) else float(one)
    else:
      flat[name] = value
  return flat


def zeros_like_sums(sums: PyTree) -> PyTree:
  """Returns zeros in the structure of metric sums, arrays or their shapes."""
  return jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), sums)
