"""Metric learning: embeddings in which images of one class lie near each other (siamese networks)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, TypeAlias

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from flax import linen as nn
from flax.typing import Collection
from jax import Array

from cnnlab.annotations import Between, Count
from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.models.registry import require_output
from cnnlab.settings import spelled
from cnnlab.tasks import verification
from cnnlab.tasks.analysis import Analysis
from cnnlab.tasks.base import (
  Accumulator,
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  Loss,
  MetricValue,
  Prediction,
  Preprocessing,
  Task,
  num_examples,
  require_center,
)
from cnnlab.tasks.metric_losses import LOSSES, MetricLoss, Pixels, Softmax
from cnnlab.types import Json, JsonMapping

Embedding: TypeAlias = Literal["output", "codes", "pixels"]

EMBEDDING = "embedding"
_EMBEDDINGS: dict[type, Embedding] = {Softmax: "codes", Pixels: "pixels"}
_LEAST = 1e-12  # squared length of an embedding that is made 1


class EmbeddingNet(nn.Module):
  """A classifier whose last layer gives an embedding, under the classifier's own parameter names.

  Attributes:
    net: the classifier, with as many outputs as an embedding has numbers.
    normalize: divide embeddings by their length.
    embedding: 'output' of the net; 'codes', what its last layer reads; or 'pixels' of its input.
  """

  net: nn.Module
  normalize: bool
  embedding: Embedding

  def setup(self) -> None:
    """Gives the network's parameters the paths that they have in a classifier."""
    nn.share_scope(self, self.net)

  def __call__(self, x: Array, *, train: bool) -> tuple[Array, dict[str, Array]]:
    """Returns embeddings, float32 [batch, numbers], and the net's features with its output."""
    out, feats = self.net(x, train=train)
    if self.embedding == "pixels":
      found = x.reshape(len(x), -1)
    else:
      found = (feats["pre_logits"] if self.embedding == "codes" else out).astype(jnp.float32)
      found = found.mean(tuple(range(1, found.ndim - 1)))
    if self.normalize:
      length = jnp.sqrt(jnp.sum(jnp.square(found), axis=-1, keepdims=True) + _LEAST)
      found = found / length
    return found, {**feats, "output": out, EMBEDDING: found}


@dataclasses.dataclass(frozen=True)
class MetricLearningSettings:
  """Keys of the config's `task` section.

  Attributes:
    loss: "contrastive(margin=1.0)", "triplet(margin=0.2, mining='hard')" with more settings in
      `cnnlab.tasks.metric_losses`; "softmax", a classifier of the training classes whose codes,
      before its last layer, are the embeddings; or "pixels", which trains nothing and compares images
      as they are.
    dimensions: numbers in an embedding of the network's output.
    normalize: divide embeddings by their length, so that they lie on a sphere.
    ways, shots: classes in an episode, and images that stand for each, by which embeddings are
      judged.
    episodes: number of episodes, a fixed list; each asks for one image of each of its classes.
  """

  loss: str = "triplet"
  dimensions: Annotated[int, Between(1, 100_000)] = 64
  normalize: bool = True
  ways: Annotated[int, Between(2, 10_000)] = 20
  shots: Count = 1
  episodes: Count = 400


@dataclasses.dataclass(frozen=True)
class MetricLearning(Task):
  """Embeddings that are compared by their distance.

  Attributes:
    settings: see `MetricLearningSettings`.
    loss_of: the loss that `settings.loss` spells.
    class_names: by label, those of training and of evaluation.
  """

  settings: MetricLearningSettings
  loss_of: MetricLoss
  class_names: tuple[str, ...]

  Settings: ClassVar = MetricLearningSettings
  needs: ClassVar = {"image": "image", "label": "label"}
  metrics: ClassVar = (
    Metric("accuracy", "few-shot accuracy", "%", 100.0, "max"),
    Metric("eer", "equal error rate", "%", 100.0),
    Metric("auc", "area under the ROC curve", better="max"),
    Metric("threshold", "distance at the equal error rate"),
    Metric("pixel_accuracy", "few-shot accuracy by pixels", "%", 100.0, "max"),
    Metric("pixel_eer", "equal error rate by pixels", "%", 100.0),
  )
  main_metric: ClassVar = "accuracy"
  measures_training: ClassVar = False
  evaluation_keys: ClassVar = ("ways", "shots", "episodes")

  @classmethod
  def create(
    cls, settings: MetricLearningSettings, features: Mapping[str, FeatureSpec]
  ) -> MetricLearning:
    """Returns the task."""
    loss = spelled(LOSSES, settings.loss, "task.loss")
    return cls(settings, loss, tuple(features["label"].names))

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the embedding network around a classifier.

    Raises:
      ConfigError: another network than a classifier, or `model.num_classes`, which `task.dimensions`
        stands for.
    """
    options = dict(options)
    name = options.pop("name")
    require_output(name, "classification")
    if "num_classes" in options:
      raise ConfigError(
        f"config key 'model.num_classes' is {options['num_classes']}; an embedding's size is the "
        "config key 'task.dimensions'"
      )
    outputs, embedding = self.settings.dimensions, _EMBEDDINGS.get(type(self.loss_of), "output")
    if embedding == "codes":
      outputs = len(self.class_names)
    net = create_model(name, num_classes=outputs, dtype=dtype, **options)
    return EmbeddingNet(net, self.settings.normalize, embedding)

  def check(self, out: Array, preprocess: Preprocessing) -> None:
    """Raises ConfigError where several crops are evaluated, or labels of training would be mixed."""
    require_center(preprocess)
    if preprocess.mix:
      raise ConfigError("config key 'data.mix' mixes labels, which task 'metric_learning' compares")

  def loss(self, out: Array, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the loss over all pairs or triplets of the batch, weighted by its size."""
    count = num_examples(batch)
    if isinstance(self.loss_of, Softmax):
      logits = feats["output"].astype(jnp.float32)
      losses = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
      return Loss(jnp.sum(losses), count)
    if isinstance(self.loss_of, Pixels):
      return Loss(jnp.float32(0), count)
    return Loss(count * self.loss_of(out, batch["label"]), count)

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns the count; all else needs the whole split."""
    return {"count": round(float(sums["count"]))}

  def collect(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns embeddings, labels, and the network's input as [batch, pixels]."""
    pixels = batch["image"].reshape(num_examples(batch), -1)
    return {EMBEDDING: out, "label": batch["label"], "pixels": pixels}

  def accumulator(self) -> Accumulator:
    """Returns that of all metrics."""
    settings = self.settings
    return verification.Evaluation(settings.ways, settings.shots, settings.episodes)

  def example_metrics(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns the embedding and the label."""
    return {EMBEDDING: out, "label": batch["label"]}

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis:
    """Returns the ROC curve of all pairs, and a map of the embeddings."""
    return verification.analyze(examples, self.class_names)

  def predict(self, out: Array) -> dict[str, Array]:
    """Returns the embeddings."""
    return {EMBEDDING: out}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the embedding."""
    return {EMBEDDING: prediction[EMBEDDING].tolist()}

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the first numbers of the embedding."""
    return [f"{number:.3f}" for number in prediction[EMBEDDING][:top]]

  def results(self, names: Sequence[str], predictions: Sequence[Prediction]) -> Embedded:
    """Returns the embeddings of several images with their distances."""
    return Embedded(tuple(names), np.stack([one[EMBEDDING] for one in predictions]))


@dataclasses.dataclass(frozen=True, eq=False)
class Embedded:
  """Embeddings of images; in a notebook they are shown as a table of distances.

  Attributes:
    images: names of the image files, or the positions of images that have none.
    embeddings: float32 [images, numbers].
  """

  images: tuple[str, ...]
  embeddings: np.ndarray

  @property
  def distances(self) -> pd.DataFrame:
    """Euclidean distance of each pair of images, with their names on both sides.

    A run's metric `eval/threshold` is the distance at which as many pairs of one class are taken for
    two as the other way round.
    """
    apart = verification.distances(self.embeddings, self.embeddings)
    return pd.DataFrame(apart, index=list(self.images), columns=list(self.images))

  def __len__(self) -> int:
    """Returns the number of images."""
    return len(self.images)

  def __repr__(self) -> str:
    """Returns the table of distances as text."""
    return repr(self.distances)

  def _repr_html_(self) -> str:
    return self.distances.to_html()
