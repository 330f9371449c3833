"""Detection: boxes and classes of the objects in an image, by one stage or two."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.annotations import Between, Count, Fraction, NonNegative, Positive, Whole
from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import SAMPLING, Dense
from cnnlab.models.registry import require_output
from cnnlab.panels import PREDICTED
from cnnlab.tasks.analysis import Analysis
from cnnlab.tasks.base import (
  Accumulator,
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  Loss,
  MetricValue,
  Output,
  Prediction,
  Preprocessing,
  Task,
  View,
)
from cnnlab.tasks.detection_analysis import analyze
from cnnlab.tasks.detection_decode import Decoding, Detections
from cnnlab.tasks.detection_losses import OneStageLoss, TwoStageLoss
from cnnlab.tasks.detection_metrics import Scores, coco_eval
from cnnlab.tasks.detection_pictures import with_boxes
from cnnlab.tasks.detection_targets import object_names, second_stage, truth_of
from cnnlab.types import Json, JsonMapping, PyTree

# Settings that only detectors of one stage, or of two, read.
ONE_STAGE = ("gamma", "alpha", "anchor_sample")
TWO_STAGES = ("rpn_sample", "box_sample", "box_positives")


@dataclasses.dataclass(frozen=True)
class DetectionSettings:
  """Keys of the config's `task` section.

  Attributes:
    gamma, alpha: of RetinaNet's focal loss (arXiv:1708.02002, equation 5); a gamma of 0 is
      cross-entropy, and with an alpha of 0 positive and negative anchors weigh alike.
    anchor_sample: anchors of an image that RetinaNet's loss sees, up to half of them positive, drawn at
      random; 0: all.
    rpn_sample: anchors of an image that Faster R-CNN's proposals are trained on, drawn likewise.
    box_sample, box_positives: boxes of an image that its second stage is trained on, and the largest
      share of positives among them.
    box_weight: weight of the boxes' loss.
    beta: distance below which that is quadratic (smooth L1); 0: nowhere (L1).
    score_threshold, overlap, candidates, detections: see `cnnlab.tasks.detection_decode.Decoding`;
      `detections` is its `most`.
    size_limits: sides in pixels of the network's input, up to which boxes are small and medium.
    shown_score: of the boxes that are drawn, described and told apart in the tables of errors.
  """

  gamma: Annotated[float, Between(0, 100)] = 2.0
  alpha: Fraction = 0.25
  anchor_sample: Whole = 0
  rpn_sample: Count = 256
  box_sample: Count = 512
  box_positives: Fraction = 0.25
  box_weight: NonNegative = 1.0
  beta: NonNegative = 1 / 9
  score_threshold: Fraction = 0.05
  overlap: Fraction = 0.5
  candidates: Count = 1000
  detections: Count = 100
  size_limits: tuple[Positive, Positive] = (32.0, 96.0)
  shown_score: Fraction = 0.5


class Evaluated(NamedTuple):
  """What was found in a batch.

  Attributes:
    found: boxes and classes.
    size: (height, width) of the network's input in pixels, int32 [batch, 2].
  """

  found: Detections
  size: Array


@dataclasses.dataclass(frozen=True)
class Detection(Task):
  """Boxes of objects, each with a class.

  Attributes:
    settings: see `DetectionSettings`.
    class_names: of the classes, without background; the network's classes count from 1.
  """

  settings: DetectionSettings
  class_names: tuple[str, ...]

  Settings: ClassVar = DetectionSettings
  needs: ClassVar = {"image": "image", "boxes": "boxes", "box_labels": "vector"}
  metrics: ClassVar = (
    Metric("map", "mAP", "%", 100.0, "max"),
    Metric("map50", "mAP at IoU 0.5", "%", 100.0, "max"),
    Metric("map75", "mAP at IoU 0.75", "%", 100.0, "max"),
    Metric("map_small", "mAP of small objects", "%", 100.0, "max"),
    Metric("map_medium", "mAP of medium objects", "%", 100.0, "max"),
    Metric("map_large", "mAP of large objects", "%", 100.0, "max"),
    Metric("voc_map", "VOC's mAP", "%", 100.0, "max"),
    Metric("recall", "mean recall", "%", 100.0, "max"),
    Metric("ap", "AP", "%", 100.0, "max", per_class=True),
  )
  main_metric: ClassVar = "map"
  streams: ClassVar = ("dropout", SAMPLING)
  measures_training: ClassVar = False
  evaluation_keys: ClassVar = (
    "score_threshold",
    "overlap",
    "candidates",
    "detections",
    "size_limits",
    "shown_score",
  )

  @classmethod
  def create(cls, settings: DetectionSettings, features: Mapping[str, FeatureSpec]) -> Detection:
    """Returns the task."""
    names = object_names("detection", features)
    small, medium = settings.size_limits
    if small > medium:
      raise ConfigError(
        f"config key 'task.size_limits' is {settings.size_limits}; allowed: the side of small boxes "
        "first, that of medium ones second"
      )
    return cls(settings, names)

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the detector with as many classes as there are, and background.

    Raises:
      ConfigError: another kind of network, or another number as `model.num_classes`.
    """
    require_output(options["name"], "detection")
    classes = len(self.class_names) + 1
    options = {"num_classes": classes} | dict(options)
    if options["num_classes"] != classes:
      raise ConfigError(
        f"config key 'model.num_classes' is {options['num_classes']}; the data have {classes - 1} "
        f"classes, which makes {classes} with background: leave it out"
      )
    return create_model(options.pop("name"), dtype=dtype, **options)

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError unless the network is a detector whose settings all have an effect.

    The same if pycocotools is missing; predictions do without it.
    """
    coco_eval()
    if not isinstance(out, (Dense, TwoStage)):
      raise ConfigError(
        "config key 'model.name': the network returns no detector's output (Dense or TwoStage); task "
        "'detection' needs one that does, such as retinanet_resnet18"
      )
    stages, unread = ("two", ONE_STAGE) if isinstance(out, TwoStage) else ("one", TWO_STAGES)
    usual = DetectionSettings()
    for name in unread:
      if getattr(self.settings, name) != getattr(usual, name):
        raise ConfigError(
          f"config key 'task.{name}' has no effect on a detector with {stages} stage"
          f"{'s' * (stages == 'two')}: leave it out"
        )

  def inputs(self, batch: Batch, *, train: bool) -> tuple[PyTree, ...]:
    """Returns the images, and in training the function that samples boxes for a second stage."""
    if not train:
      return (batch["image"],)
    select = second_stage(truth_of(batch), self.settings.box_sample, self.settings.box_positives)
    return batch["image"], select

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Evaluated]:
    """Returns the preprocessed batch and what is found in it."""
    batch, out = super().evaluate(model, variables, preprocess, batch)
    count, *size = batch["image"].shape[:3]
    s = self.settings
    decoding = Decoding(s.score_threshold, s.overlap, s.candidates, s.detections)
    found = decoding(out, (size[0], size[1]))
    # Published detectors of one stage have a logit of background, too.
    found = found._replace(valid=found.valid & (found.classes > 0))
    return batch, Evaluated(found, jnp.tile(jnp.array(size, jnp.int32), (count, 1)))

  # Loss and metrics.

  def loss(self, out: Output, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the sum of the images' losses, and the number of images."""
    s, truth, key = self.settings, truth_of(batch), feats[SAMPLING]
    if isinstance(out, TwoStage):
      total = TwoStageLoss(s.rpn_sample, s.beta, s.box_weight)(out, truth, key)
    else:
      total = OneStageLoss(s.gamma, s.alpha, s.anchor_sample, s.beta, s.box_weight)(out, truth, key)
    return Loss(total, float(len(truth.boxes)))

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns the count; everything else needs the whole split."""
    return {"count": round(float(sums["count"]))}

  def collect(self, out: Evaluated, batch: Batch) -> dict[str, Array]:
    """Returns true and found boxes; see `cnnlab.tasks.detection_metrics`."""
    truth, found = truth_of(batch), out.found
    crowd = jnp.zeros_like(truth.valid) if truth.crowd is None else truth.crowd
    return {
      "true_boxes": truth.boxes,
      "true_labels": truth.classes - 1,
      "true_valid": truth.valid | crowd,
      "true_crowd": crowd,
      "boxes": found.boxes,
      "scores": found.scores,
      "labels": found.classes - 1,
      "valid": found.valid,
    }

  def example_metrics(self, out: Evaluated, batch: Batch) -> dict[str, Array]:
    """Returns the same, so that an analysis has every box."""
    return self.collect(out, batch)

  def accumulator(self) -> Accumulator:
    """Returns that of the mean average precision."""
    return Scores(self.class_names, self.settings.size_limits)

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis:
    """Returns curves of precision and recall, and errors by size and kind."""
    s = self.settings
    return analyze(examples, self.class_names, s.size_limits, s.shown_score)

  # Predictions.

  def predict(self, out: Evaluated) -> dict[str, Array]:
    """Returns boxes [batch, most, 4], scores, labels and validity [batch, most], and the input's size."""
    found = out.found
    return {
      "boxes": found.boxes,
      "scores": found.scores,
      "labels": found.classes - 1,
      "valid": found.valid,
      "size": out.size,
    }

  def restore(self, prediction: Prediction, view: View) -> Prediction:
    """Returns the boxes in pixels of the original image, without padding."""
    kept = _without_padding(prediction)
    height, width = map(int, prediction["size"])
    return kept | {"boxes": view.restore_boxes(kept["boxes"], (height, width))}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the class, score and edges of each box, in pixels, by decreasing score."""
    return {"detections": self._rows(prediction)}

  def _rows(self, prediction: Prediction) -> list[dict[str, Any]]:
    return [
      {
        "class": self.class_names[label],
        "score": float(score),
        **dict(zip(("ymin", "xmin", "ymax", "xmax"), map(float, box), strict=True)),
      }
      for box, score, label in zip(
        prediction["boxes"], prediction["scores"], prediction["labels"], strict=True
      )
    ]

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the classes with the largest scores, and where they are."""
    shown = self._shown(prediction)
    cells = [
      f"{row['class']} {row['score']:.0%} at {row['xmin']:.0f}, {row['ymin']:.0f}"
      for row in self._rows(shown)[:top]
    ]
    return cells or ["nothing"]

  def results(self, names: Sequence[str], predictions: Sequence[Prediction]) -> Any:
    """Returns a DataFrame with a row for each box: image, class, score and edges in pixels."""
    import pandas as pd

    columns = ["image", "class", "score", "ymin", "xmin", "ymax", "xmax"]
    found = [
      {"image": name, **row}
      for name, prediction in zip(names, predictions, strict=True)
      for row in self._rows(prediction)
    ]
    return pd.DataFrame(found, columns=columns)

  def _shown(self, prediction: Prediction) -> Prediction:
    """Returns the boxes whose score is that of what is shown, or higher."""
    kept = prediction["scores"] >= self.settings.shown_score
    return {name: prediction[name][kept] for name in ("boxes", "scores", "labels")}

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Returns the image with boxes, names and scores; a small one is enlarged."""
    shown = self._shown(prediction)
    texts = [f"{row['class']} {row['score']:.2f}" for row in self._rows(shown)]
    return with_boxes(image, shown["boxes"], shown["labels"], texts)

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns the image with its true boxes, and with those that were found."""
    valid = example["boxes_valid"]
    labels = example["box_labels"][valid]
    texts = [self.class_names[label] for label in labels]
    return {
      "truth": with_boxes(example["image"], example["boxes"][valid], labels, texts),
      PREDICTED: self.draw(example["image"], _without_padding(prediction)),
    }


def _without_padding(prediction: Prediction) -> Prediction:
  """Returns boxes, scores and labels of what was found."""
  valid = prediction["valid"]
  return {name: prediction[name][valid] for name in ("boxes", "scores", "labels")}
