"""Localisation: the class of an image's object and its box, by two heads on one trunk.

The object is the one with the largest box. An image without any counts for nothing, in the loss and in
the metrics. Errors are ILSVRC's (arXiv:1409.0575, section 4.2): a prediction is right if its class
is, and its box overlaps the true one by more than half.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.typing import Collection
from jax import Array

from cnnlab.annotations import NonNegative
from cnnlab.boxes import areas, clip, decode, encode, paired_iou
from cnnlab.boxes.coding import BOX_HEAD
from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.models.localiser import Localised, localiser
from cnnlab.models.registry import require_output
from cnnlab.panels import PREDICTED
from cnnlab.tasks.analysis import Analysis
from cnnlab.tasks.base import (
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  Loss,
  MetricValue,
  Output,
  Prediction,
  Preprocessing,
  Sums,
  Task,
  View,
)
from cnnlab.tasks.detection_pictures import with_boxes
from cnnlab.tasks.detection_targets import object_names, truth_of
from cnnlab.tasks.localisation_analysis import analyze
from cnnlab.types import Json, JsonMapping

WHOLE = np.array([0, 0, 1, 1], np.float32)  # the image as a box, in fractions of its sides
RIGHT = 0.5  # a box is right whose IoU is over this


@dataclasses.dataclass(frozen=True)
class LocalisationSettings:
  """Keys of the config's `task` section.

  Attributes:
    box_weight: weight of the box's loss; that of the class has the weight 1.
  """

  box_weight: NonNegative = 1.0


class Target(NamedTuple):
  """The object of each image.

  Attributes:
    label: its class, int32 [batch].
    box: in fractions of the image's sides, float32 [batch, 4].
    present: whether there is one, bool [batch].
  """

  label: Array
  box: Array
  present: Array


@dataclasses.dataclass(frozen=True)
class Localisation(Task):
  """Cross-entropy of the class, and smooth L1 of the box.

  Attributes:
    class_names: by label.
    box_weight: see `LocalisationSettings`.
  """

  class_names: tuple[str, ...]
  box_weight: float = 1.0

  Settings: ClassVar = LocalisationSettings
  needs: ClassVar = {"image": "image", "boxes": "boxes", "box_labels": "vector"}
  metrics: ClassVar = (
    Metric("localisation_error", "localisation error", "%", 100.0),
    Metric("both_right", "class and box right", "%", 100.0, "max"),
    Metric("top1", "accuracy of the class", "%", 100.0, "max"),
    Metric("mean_iou", "mean IoU of the box", "%", 100.0, "max"),
    Metric("located", "boxes with an IoU over 0.5", "%", 100.0, "max"),
    Metric("cross_entropy", "cross-entropy", "nats"),
  )
  main_metric: ClassVar = "localisation_error"

  @classmethod
  def create(
    cls, settings: LocalisationSettings, features: Mapping[str, FeatureSpec]
  ) -> Localisation:
    """Returns the task."""
    return cls(object_names("localisation", features), settings.box_weight)

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the two heads on the classifier that `options` names.

    Raises:
      ConfigError: no classifier, or another number as `model.num_classes`.
    """
    options, classes = dict(options), len(self.class_names)
    trunk = options.pop("name")
    require_output(trunk, "classification")
    if options.pop("num_classes", classes) != classes:
      raise ConfigError(
        f"config key 'model.num_classes': the data have {classes} classes: leave it out"
      )
    return localiser(trunk, classes, dtype=dtype, **options)

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError unless the network is a localiser."""
    if not isinstance(out, Localised):
      raise ConfigError("config key 'model.name': the network returns no class and box (Localised)")

  # Loss and metrics.

  def loss(self, out: Localised, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the two-part loss summed over images with an object, and their number.

    Offsets of the box are normalized as Fast R-CNN's (arXiv:1504.08083, eq. 2 and 3).
    """
    target = target_of(batch)
    classes = optax.softmax_cross_entropy_with_integer_labels(out.logits, target.label)
    wanted = encode(target.box, jnp.asarray(WHOLE), BOX_HEAD)
    boxes = optax.huber_loss(out.offsets, wanted).sum(-1)
    losses = classes + self.box_weight * boxes
    total = jnp.sum(jnp.where(target.present, losses, 0))
    # Where no image has an object, the mean is 0 rather than undefined.
    return Loss(total, jnp.maximum(target.present.sum().astype(jnp.float32), 1e-6))

  def metric_sums(self, out: Localised, batch: Batch, mask: Array) -> Sums:
    """Returns sums over the images with an object, their number and that of all."""
    found = self.example_metrics(out, batch)
    counted = (mask > 0) & target_of(batch).present

    def total(values: Array) -> Array:
      return jnp.sum(jnp.where(counted, values, 0.0))

    return {
      "cross_entropy": total(found["cross_entropy"]),
      "top1": total(found["label"] == found["prediction"]),
      "mean_iou": total(found["iou"]),
      "located": total(found["iou"] > RIGHT),
      "localisation_error": total(found["localisation_error"]),
      "objects": jnp.sum(counted).astype(jnp.float32),
      "count": jnp.sum(mask),
    }

  def example_metrics(self, out: Localised, batch: Batch) -> dict[str, Array]:
    """Returns error (0 or 1), IoU, cross-entropy, label, prediction and confidence of each image.

    Without an object the error is NaN, and the label -1.
    """
    target = target_of(batch)
    finite = jnp.all(jnp.isfinite(out.logits), axis=-1) & jnp.all(
      jnp.isfinite(out.offsets), axis=-1
    )
    overlap = jnp.where(finite, paired_iou(boxes_of(out), target.box), 0.0)
    prediction = jnp.where(finite, jnp.argmax(out.logits, axis=-1), -1)
    right = (overlap > RIGHT) & (prediction == target.label)
    losses = optax.softmax_cross_entropy_with_integer_labels(out.logits, target.label)
    return {
      "localisation_error": jnp.where(target.present, 1.0 - right, jnp.nan),
      "iou": overlap,
      "cross_entropy": losses,
      "label": jnp.where(target.present, target.label, -1),
      "prediction": prediction,
      "confidence": jnp.max(jax.nn.softmax(out.logits), axis=-1),
    }

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns means over the images with an object, and the count of all."""
    objects = float(sums["objects"])
    names = ("localisation_error", "top1", "mean_iou", "located", "cross_entropy")
    found: dict[str, MetricValue] = {
      name: float(sums[name]) / objects if objects else None for name in names
    }
    right = 1 - float(sums["localisation_error"]) / objects if objects else None
    return found | {"both_right": right, "count": round(float(sums["count"]))}

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis:
    """Returns results by class and kind of error, the overlaps, and the worst mistakes."""
    return analyze(examples, self.class_names, RIGHT)

  # Predictions.

  def predict(self, out: Localised) -> dict[str, Array]:
    """Returns class probabilities [batch, classes], and boxes in fractions of the image's sides."""
    return {"probabilities": jax.nn.softmax(out.logits), "box": boxes_of(out)}

  def restore(self, prediction: Prediction, view: View) -> Prediction:
    """Returns the prediction with its box in pixels of the original image."""
    return prediction | {"box": view.restore_boxes(prediction["box"][None], (1, 1))[0]}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the probability of each class by its name, and the box in pixels."""
    values = map(float, prediction["probabilities"])
    edges = zip(("ymin", "xmin", "ymax", "xmax"), map(float, prediction["box"]), strict=True)
    return {
      "probabilities": dict(zip(self.class_names, values, strict=True)),
      "box": dict(edges),
    }

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the most probable classes, and the box after the first."""
    probabilities = prediction["probabilities"]
    best = np.argsort(-probabilities, kind="stable")[:top]
    cells = [f"{self.class_names[i]} {probabilities[i]:.1%}" for i in best]
    ymin, xmin, ymax, xmax = (round(float(edge)) for edge in prediction["box"])
    return [f"{cells[0]} at ({xmin}, {ymin}) to ({xmax}, {ymax})", *cells[1:]]

  def results(self, names: Sequence[str], predictions: Sequence[Prediction]) -> Any:
    """Returns a DataFrame with a row for each image: class, its probability, edges in pixels."""
    import pandas as pd

    columns = ["image", "class", "probability", "ymin", "xmin", "ymax", "xmax"]
    rows = [
      [name, *self._best(prediction), *map(float, prediction["box"])]
      for name, prediction in zip(names, predictions, strict=True)
    ]
    return pd.DataFrame(rows, columns=columns)

  def _best(self, prediction: Prediction) -> tuple[str, float]:
    label = int(prediction["probabilities"].argmax())
    return self.class_names[label], float(prediction["probabilities"][label])

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Returns the image with the box, its class and its probability."""
    name, probability = self._best(prediction)
    label = np.array([self.class_names.index(name)])
    return with_boxes(image, prediction["box"][None], label, [f"{name} {probability:.2f}"])

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns the image with its true box, and with the one that was found."""
    image = example["image"]
    sides = np.array([*image.shape[:2], *image.shape[:2]])
    target = jax.tree.map(lambda one: np.asarray(one)[0], target_of(_alone(example)))
    shown = target.present[None]
    texts = [self.class_names[target.label]] if target.present else []
    boxes, labels = (target.box * sides)[None][shown], target.label[None][shown]
    found = prediction | {"box": prediction["box"] * sides}
    return {"truth": with_boxes(image, boxes, labels, texts), PREDICTED: self.draw(image, found)}


def target_of(batch: Batch) -> Target:
  """Returns the object of each image of a preprocessed batch: the one with the largest box."""
  sides = jnp.array([*batch["image"].shape[1:3]] * 2, jnp.float32)
  truth = truth_of(batch)
  sizes = jnp.where(truth.valid, areas(truth.boxes), -1)
  largest = jnp.argmax(sizes, axis=1)[:, None]
  box = jnp.take_along_axis(truth.boxes, largest[..., None], axis=1)[:, 0] / sides
  label = jnp.take_along_axis(batch["box_labels"], largest, axis=1)[:, 0]
  return Target(label, box, truth.valid.any(axis=1))


def boxes_of(out: Localised) -> Array:
  """Returns the boxes of a batch in fractions of the image's sides, float32 [batch, 4]."""
  return clip(decode(out.offsets, jnp.asarray(WHOLE), BOX_HEAD), (1, 1))


def _alone(example: Prediction) -> dict[str, Array]:
  """Returns an example as a batch of one."""
  return {name: jnp.asarray(value)[None] for name, value in example.items()}
