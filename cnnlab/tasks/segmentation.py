"""Semantic segmentation: a class for each pixel."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.annotations import Between, Fraction, NonNegative
from cnnlab.crf import read_crf, refined
from cnnlab.errors import ConfigError, DataError, unknown
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.models.registry import require_output
from cnnlab.tasks import segmentation_metrics as measures
from cnnlab.tasks import segmentation_pictures as pictures
from cnnlab.tasks.base import (
  Accumulator,
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  LabelCounts,
  Loss,
  MetricValue,
  Output,
  Prediction,
  Preprocessing,
  Sums,
  Task,
  View,
)
from cnnlab.tasks.segmentation_losses import IGNORED, dice_losses, focal_losses
from cnnlab.tasks.views import require_cover, segment_views
from cnnlab.types import Json, JsonMapping

NO_LABEL = 255  # in label maps, whatever the classes are; see `cnnlab.data.features`

Balance: TypeAlias = Literal["none", "inverse", "median"]


@dataclasses.dataclass(frozen=True)
class SegmentationSettings:
  """Keys of the config's `task` section.

  Attributes:
    labels: name of the label map among the features; empty: the only one.
    ignored: classes that count for nothing, in training and in scores, as the value 255 does.
    class_weights: of each class in the loss: 'none'; 'inverse', 1 / (classes x frequency of the
      class among the labelled pixels of the training set); 'median', the median frequency / that of
      the class, where the frequency is that in the images that have the class (arXiv:1411.4734,
      section 6.3.2); or numbers, one for each class.
    gamma: of the focal loss (arXiv:1708.02002); 0 is cross-entropy.
    dice: share of the dice loss in the loss; the rest is cross-entropy or focal loss.
    auxiliary_weight: weight of the loss of each auxiliary head, whose logits a network returns in
      training as `feats['auxiliary_logits']` (arXiv:1612.01105, section 4.2).
    boundary_tolerance: of the boundary F-score, as a fraction of the image's diagonal.
    crf: a random field that refines the logits, with the options that differ from their defaults,
      such as 'fully_connected(color_width=0.3)'; empty: none. It acts in evaluation alone, unless
      its option `learned` makes it a part of what is trained; see `cnnlab.crf`.
  """

  labels: str = ""
  ignored: tuple[str, ...] = ()
  class_weights: Balance | tuple[NonNegative, ...] = "none"
  gamma: Annotated[float, Between(0, 100)] = 0.0
  dice: Fraction = 0.0
  auxiliary_weight: NonNegative = 0.4
  boundary_tolerance: Annotated[float, Between(0, 1, over=True)] = 0.0075
  crf: str = ""


@dataclasses.dataclass(frozen=True)
class Segmentation(Task):
  """Softmax classification of each pixel.

  Attributes:
    settings: see `SegmentationSettings`.
    target: name of the label map.
    class_names: of the classes that count, in the order of the network's logits.
    kept: their values in the label map.
    weights: of each class in the loss; empty: all are 1.
  """

  settings: SegmentationSettings
  target: str
  class_names: tuple[str, ...]
  kept: tuple[int, ...]
  weights: tuple[float, ...] = ()

  Settings: ClassVar = SegmentationSettings
  metrics: ClassVar = (
    Metric("cross_entropy", "cross-entropy", "nats"),
    Metric("miou", "mean IoU", "%", 100.0, "max"),
    Metric("pixel_accuracy", "pixel accuracy", "%", 100.0, "max"),
    Metric("mean_accuracy", "mean accuracy of the classes", "%", 100.0, "max"),
    Metric("boundary_f", "boundary F-score", "%", 100.0, "max"),
    Metric("iou", "IoU", "%", 100.0, "max", per_class=True),
    Metric("absent_classes", "classes without a pixel, left out of the mean IoU"),
  )
  main_metric: ClassVar = "miou"
  evaluation_keys: ClassVar = ("crf",)

  @classmethod
  def create(
    cls, settings: SegmentationSettings, features: Mapping[str, FeatureSpec]
  ) -> Segmentation:
    """Returns the task, with weights of the classes that are known without the data."""
    target = _label_map(settings.labels, features)
    names = features[target].names
    for name in settings.ignored:
      if name not in names:
        raise ConfigError("config key 'task.ignored': " + unknown("class", name, names))
    kept = tuple(i for i, name in enumerate(names) if name not in settings.ignored)
    if len(kept) < 2:
      raise ConfigError(
        f"config key 'task.ignored' leaves {len(kept)} of the classes {', '.join(names)}; at least "
        "two are needed"
      )
    weights = settings.class_weights if isinstance(settings.class_weights, tuple) else ()
    if weights and len(weights) != len(kept):
      raise ConfigError(
        f"config key 'task.class_weights' has {len(weights)} numbers; allowed: one for each of the "
        f"{len(kept)} classes {', '.join(names[i] for i in kept)}"
      )
    if weights and not any(weights):
      raise ConfigError("config key 'task.class_weights': all are 0; one at least must be over 0")
    return cls(settings, target, tuple(names[i] for i in kept), kept, weights)

  def fitted(self, label_counts: LabelCounts) -> Segmentation:
    """Returns the task with the weights of the classes that `class_weights` asks for."""
    if self.settings.class_weights not in ("inverse", "median"):
      return self
    counts = label_counts(self.target)[:, list(self.kept)]
    weights = balanced_weights(counts, median=self.settings.class_weights == "median")
    return dataclasses.replace(self, weights=tuple(map(float, weights)))

  @property
  def derived(self) -> JsonMapping:
    """Weights of the classes by name, where they are not all 1."""
    if not self.weights:
      return {}
    return {"class_weights": dict(zip(self.class_names, self.weights, strict=True))}

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the segmentation network with as many outputs as there are classes.

    Raises:
      ConfigError: a classifier, another number as `model.num_classes`, or a `crf` that spells no
        field.
    """
    require_output(options["name"], "segmentation")
    classes = len(self.class_names)
    options = {"num_classes": classes} | dict(options)
    if options["num_classes"] != classes:
      raise ConfigError(
        f"config key 'model.num_classes' is {options['num_classes']}; the data have {classes} "
        "classes that count: leave it out"
      )
    network = create_model(options.pop("name"), dtype=dtype, **options)
    field = self.settings.crf
    return refined(network, read_crf(field, "task.crf")) if field else network

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError unless the network returns logits for each pixel, and all are evaluated."""
    expected = (1, *preprocess.image_size, len(self.class_names))
    shape = getattr(out, "shape", None)
    if shape != expected:
      raise ConfigError(
        f"config key 'model.name': the network returns {shape} for an image; task 'segmentation' "
        f"needs one that returns logits for each pixel, {expected}, such as unet"
      )
    if preprocess.eval_crops != "center":
      require_cover(preprocess)

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Array]:
    """Returns the batch and the logits, averaged over the views that `data.eval_*` ask for."""
    if preprocess.eval_crops == "center":
      return super().evaluate(model, variables, preprocess, batch)
    return batch, segment_views(model, variables, preprocess, batch["image"])

  # Loss and metrics.

  def loss(self, out: Array, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the loss summed over labelled pixels, auxiliary heads included, and their number.

    An image's dice loss weighs as much as its labelled pixels.
    """
    labels = self.labels(batch)
    total = self._total(out, labels)
    for logits in feats.get("auxiliary_logits", ()):
      total += self.settings.auxiliary_weight * self._total(logits, labels)
    # Where nothing is labelled, the mean is 0 rather than undefined.
    return Loss(total, jnp.maximum(_labelled(labels).sum(), 1e-6))

  def labels(self, batch: Batch | Prediction) -> Array:
    """Returns indices into `class_names`, int32 [batch, height, width]; `IGNORED` elsewhere."""
    table = np.full(256, IGNORED, np.int32)
    table[list(self.kept)] = np.arange(len(self.kept))
    return jnp.asarray(table)[batch[self.target]]

  def _total(self, logits: Array, labels: Array) -> Array:
    share, total = self.settings.dice, jnp.float32(0)
    if share < 1:
      total += (1 - share) * focal_losses(logits, labels, self.settings.gamma, self.weights).sum()
    if share:
      pixels = _labelled(labels).sum(axis=(1, 2))
      total += share * jnp.sum(dice_losses(logits, labels) * pixels)
    return total

  def metric_sums(self, out: Array, batch: Batch, mask: Array) -> Sums:
    """Returns the confusion matrix in two words, cross-entropy summed over pixels, and the count."""
    labels = jnp.where(mask[:, None, None] > 0, self.labels(batch), IGNORED)
    predictions = jnp.argmax(out, axis=-1).astype(jnp.int32)
    return {
      "confusion": measures.confusion_words(labels, predictions, len(self.class_names)),
      # Tells of scores that are not finite, which have a largest class too.
      "cross_entropy": focal_losses(out, labels).sum(),
      "count": jnp.sum(mask),
    }

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns cross-entropy in nats per pixel, the scores of the confusion matrix, and the count."""
    confusion = measures.confusion_matrix(np.asarray(sums["confusion"]))
    pixels = int(confusion.sum())
    return {
      "cross_entropy": float(sums["cross_entropy"]) / pixels if pixels else None,
      **measures.scores(confusion, self.class_names),
      "count": round(float(sums["count"])),
    }

  def collect(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns true and predicted classes, uint8 [batch, height, width], for the boundary F-score."""
    return {
      "labels": _stored(self.labels(batch)),
      "predictions": jnp.argmax(out, axis=-1).astype(jnp.uint8),
    }

  def accumulator(self) -> Accumulator:
    """Returns that of the boundary F-score."""
    return measures.BoundaryScore(len(self.class_names), self.settings.boundary_tolerance)

  # Predictions.

  def predict(self, out: Array) -> dict[str, Array]:
    """Returns probabilities [batch, height, width, classes], and the most probable class, uint8."""
    return {
      "probabilities": jax.nn.softmax(out.astype(jnp.float32)),
      "classes": jnp.argmax(out, axis=-1).astype(jnp.uint8),
    }

  def restore(self, prediction: Prediction, view: View) -> Prediction:
    """Returns the most probable class of each pixel, uint8 [height, width] of the original image.

    Probabilities are interpolated, one class at a time. Pixels that the network did not see are 255.
    """
    probabilities = prediction["probabilities"]
    best = view.restore(np.ones(probabilities.shape[:2], np.float32)) - 1.0  # 0, and -1 unseen
    classes = np.full(best.shape, NO_LABEL, np.uint8)
    for index in range(len(self.class_names)):
      score = view.restore(np.ascontiguousarray(probabilities[..., index]), "bilinear")
      better = (score > best) & (best >= 0)
      best[better], classes[better] = score[better], index
    return {"classes": classes}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the share of the image's pixels that each class has, by its name."""
    return {"shares": self._shares(prediction)}

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the classes with the largest shares of the pixels."""
    shares = sorted(self._shares(prediction).items(), key=lambda item: -item[1])
    return [f"{name} {share:.1%}" for name, share in shares[:top]]

  def _shares(self, prediction: Prediction) -> dict[str, float]:
    counts = np.bincount(prediction["classes"].ravel(), minlength=256)
    shares = counts[: len(self.class_names)] / max(1, prediction["classes"].size)
    return dict(zip(self.class_names, shares.tolist(), strict=True))

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Returns the classes in colors over the image, pixel by pixel, and a legend below it."""
    classes = prediction["classes"]
    seen = classes[classes != NO_LABEL]  # what was not seen stays as it is
    legend = pictures.legend(self.class_names, seen, image.shape[1])
    return pictures.below(pictures.overlay(image, classes), legend)

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns the image, its true and its predicted classes in colors, and a legend."""
    maps = {
      "truth": np.asarray(_stored(self.labels(example))),
      "prediction": prediction["classes"],
    }
    shown = {"image": pictures.as_rgb(example["image"])}
    shown |= {name: pictures.palette()[one] for name, one in maps.items()}
    legend = pictures.legend(self.class_names, np.stack(list(maps.values())))
    return {**{name: pictures.enlarged(one) for name, one in shown.items()}, "classes": legend}


def balanced_weights(counts: np.ndarray, median: bool) -> np.ndarray:
  """Returns weights of classes that even out how frequent they are, float64 [classes].

  Args:
    counts: pixels of each class in each image, int64 [images, classes].
    median: whether frequencies are taken among the images that have the class, and the class of
      median frequency has weight 1; else the mean weight of a pixel is 1.

  Raises:
    DataError: no pixel has a label.
  """
  own = counts.sum(axis=0)
  occurs = own > 0
  if not occurs.any():
    raise DataError("config key 'task.class_weights': no training image has a labelled pixel")
  among = counts.sum(axis=1) @ (counts > 0) if median else np.full(len(own), own.sum())
  frequency = own / np.maximum(among, 1)
  target = np.median(frequency[occurs]) if median else 1 / np.sum(occurs)
  # A class without a pixel has no part in the loss, whatever it weighs.
  return np.where(occurs, target / np.where(occurs, frequency, 1), 0.0)


def _label_map(asked: str, features: Mapping[str, FeatureSpec]) -> str:
  """Returns the name of the label map; raises DataError if there is none, or more than one."""
  maps = [name for name, feature in features.items() if feature.kind == "label_map"]
  if asked and asked not in maps:
    raise DataError("config key 'task.labels': " + unknown("label map", asked, maps))
  if not asked and len(maps) != 1:
    found = ", ".join(f"{name} ({feature.kind})" for name, feature in features.items())
    raise DataError(
      f"task 'segmentation' needs one label map (config key 'task.labels' chooses among several); "
      f"the data set has {found}"
    )
  return asked or maps[0]


def _labelled(labels: Array) -> Array:
  """Returns 1 where a pixel counts, float32."""
  return (labels != IGNORED).astype(jnp.float32)


def _stored(labels: Array) -> Array:
  """Returns labels as label maps hold them, uint8."""
  return jnp.where(labels == IGNORED, NO_LABEL, labels).astype(jnp.uint8)
