"""Classification: one label per image, softmax cross-entropy, top-1 and top-5."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.annotations import NonNegative, ProperFraction
from cnnlab.errors import ConfigError
from cnnlab.metrics import CLASSIFICATION
from cnnlab.models import create_encoder, create_model
from cnnlab.models.registry import require_output
from cnnlab.tasks import classes
from cnnlab.tasks.analysis import Analysis
from cnnlab.tasks.base import (
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  Loss,
  MetricValue,
  Prediction,
  Preprocessing,
  Sums,
  Task,
)
from cnnlab.tasks.classified import Classified
from cnnlab.tasks.views import classify_views
from cnnlab.types import Json, JsonMapping


@dataclasses.dataclass(frozen=True)
class ClassificationSettings:
  """Keys of the config's `task` section.

  Attributes:
    label_smoothing: probability mass spread evenly over all classes (arXiv:1512.00567, section 7).
    auxiliary_weight: weight of the loss of each auxiliary classifier, whose logits a network
      returns in training as `feats['auxiliary_logits']` (arXiv:1409.4842, section 5).
  """

  label_smoothing: ProperFraction = 0.0
  auxiliary_weight: NonNegative = 0.3


@dataclasses.dataclass(frozen=True)
class Classification(Task):
  """Softmax classification of whole images.

  Attributes:
    class_names: one per class, in the order of the labels; empty for an encoder without classifier,
      which makes no predictions.
    label_smoothing, auxiliary_weight: see `ClassificationSettings`.
  """

  class_names: tuple[str, ...]
  label_smoothing: float = 0.0
  auxiliary_weight: float = 0.3

  Settings: ClassVar = ClassificationSettings
  needs: ClassVar = {"image": "image", "label": "label"}
  metrics: ClassVar = CLASSIFICATION
  main_metric: ClassVar = "error"

  @classmethod
  def create(
    cls, settings: ClassificationSettings, features: Mapping[str, FeatureSpec]
  ) -> Classification:
    """Returns the task."""
    names = tuple(features["label"].names)
    if len(names) == 1:  # whatever the network says would be right
      raise ConfigError(
        f"config key 'data.name': the data have one class only ({', '.join(names)}); a classifier "
        "needs two or more"
      )
    return cls(names, settings.label_smoothing, settings.auxiliary_weight)

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the model with as many outputs as there are classes, or as `num_classes` asks for."""
    require_output(options["name"], "classification")
    classes = len(self.class_names)
    if not classes:
      options = dict(options)
      return create_encoder(options.pop("name"), dtype=dtype, **options)
    options = {"num_classes": classes} | dict(options)
    model = create_model(options.pop("name"), dtype=dtype, **options)
    if model.num_classes < classes:
      raise ConfigError(
        f"config key 'model.num_classes' is {model.num_classes}, but the data has {classes} "
        f"classes; allowed: {classes} and more, or leave it out"
      )
    return model

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Array]:
    """Returns the batch and the logits, averaged over the views that `data.eval_crops` asks for."""
    if preprocess.eval_crops == "center":
      return super().evaluate(model, variables, preprocess, batch)
    return batch, classify_views(model, variables, preprocess, batch["image"])

  def loss(self, out: Array, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the smoothed cross-entropy, auxiliary classifiers included; examples weigh alike."""
    losses = self.example_losses(out, feats, batch)
    return Loss(jnp.sum(losses), losses.size)

  def example_losses(self, out: Array, feats: Features, batch: Batch) -> Array:
    """Returns the loss of each example, [batch], in float32.

    `batch['label']` is int [batch], or float [batch, classes] where examples were mixed.
    """
    loss = self._cross_entropy(out, batch["label"])
    for logits in feats.get("auxiliary_logits", ()):
      loss += self.auxiliary_weight * self._cross_entropy(logits, batch["label"])
    return loss

  def _cross_entropy(self, logits: Array, label: Array) -> Array:
    if label.ndim == 1:
      target = jax.nn.one_hot(label, logits.shape[-1])
    else:
      target = jnp.pad(label, ((0, 0), (0, logits.shape[-1] - label.shape[-1])))
    target = optax.smooth_labels(target, self.label_smoothing)
    return optax.softmax_cross_entropy(logits.astype(jnp.float32), target)

  def metric_sums(self, out: Array, batch: Batch, mask: Array) -> Sums:
    """Returns sums of cross-entropy (nats, without smoothing), top-1 and top-5 hits, and the count.

    The rank of an example's label is the number of classes with a higher logit, plus those
    of lower index with an equal one, so that ties are decided as `argmax` decides them. The label
    of a mixed example is the class that weighs most.
    """
    _, rank, cross_entropy = _ranked(out, batch)
    return {
      "cross_entropy": jnp.sum(jnp.where(mask > 0, cross_entropy, 0.0)),
      "top1": jnp.sum(mask * (rank < 1)),
      "top5": jnp.sum(mask * (rank < 5)),
      "count": jnp.sum(mask),
    }

  def example_metrics(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns error (0 or 1), cross-entropy in nats, label, predicted class and its probability."""
    label, rank, cross_entropy = _ranked(out, batch)
    logits = out.astype(jnp.float32)
    return {
      "error": (rank > 0).astype(jnp.uint8),
      "cross_entropy": cross_entropy,
      "label": label,
      "prediction": jnp.argmax(logits, axis=-1),
      "confidence": jnp.max(jax.nn.softmax(logits, axis=-1), axis=-1),
    }

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns cross-entropy in nats; top-1, top-5 and error as fractions; and the count.

    Top-5 is left out where no label can miss it: with five classes or fewer.
    """
    count = float(sums["count"])
    top1 = float(sums["top1"]) / count
    found: dict[str, MetricValue] = {
      "cross_entropy": float(sums["cross_entropy"]) / count,
      "top1": top1,
      "error": 1.0 - top1,
      "count": round(count),
    }
    if len(self.class_names) > 5:
      found["top5"] = float(sums["top5"]) / count
    return found

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis | None:
    """Returns the analysis by class, of confusions, of calibration, and the worst mistakes."""
    if not {"label", "prediction", "confidence"} <= examples.keys():
      return None  # kept by earlier code
    return classes.analyze(examples, self.class_names)

  def predict(self, out: Array) -> dict[str, Array]:
    """Returns class probabilities, [batch, classes]; ConfigError for an encoder."""
    if not self.class_names:
      raise ConfigError(
        "this network is an encoder without classifier; allowed: `cnnlab codes`, `embed`, or a "
        "training that starts from it by config.init_from"
      )
    return {"probabilities": jax.nn.softmax(out.astype(jnp.float32), axis=-1)}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the probability of each class by its name."""
    values = map(float, prediction["probabilities"][: len(self.class_names)])
    return {"probabilities": dict(zip(self.class_names, values, strict=True))}

  def results(self, names: Sequence[str], predictions: Sequence[Prediction]) -> Classified:
    """Returns the class probabilities of several images, shown as a table."""
    probabilities = np.stack([p["probabilities"][: len(self.class_names)] for p in predictions])
    return Classified(tuple(names), self.class_names, probabilities)

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the most probable classes with their probabilities."""
    probabilities = prediction["probabilities"][: len(self.class_names)]
    best = np.argsort(-probabilities, kind="stable")[:top]
    return [f"{self.class_names[i]} {probabilities[i]:.1%}" for i in best]


def _ranked(out: Array, batch: Batch) -> tuple[Array, Array, Array]:
  """Returns label, rank of the label's logit (0 is the highest) and cross-entropy, each [batch]."""
  logits, label = out.astype(jnp.float32), batch["label"]
  label = label if label.ndim == 1 else jnp.argmax(label, axis=-1)
  own = jnp.take_along_axis(logits, label[:, None], axis=-1)
  earlier = jnp.arange(logits.shape[-1])[None, :] < label[:, None]
  rank = jnp.sum((logits > own) | ((logits == own) & earlier), axis=-1)
  # A logit that is not a number is greater than nothing, which must not pass for a hit.
  rank = jnp.where(jnp.all(jnp.isfinite(logits), axis=-1), rank, logits.shape[-1])
  return label, rank, optax.softmax_cross_entropy_with_integer_labels(logits, label)
