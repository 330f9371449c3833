"""Predicting the moves of strong players of Go (Silver et al., doi:10.1038/nature16961)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.models.registry import require_output
from cnnlab.models.sliding import log_mean_probability
from cnnlab.nn import dihedral
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
from cnnlab.types import Json, JsonMapping

# Planes of AlphaGo's input, by number, see `cnnlab.go.kernels`: a legal move has liberties after it.
OWN, THEIRS, NEWEST = 0, 1, 4
AFTER = slice(36, 44)
PHASES = {"opening": 50, "middle game": 150, "endgame": 10_000}  # the last move of each
FORBIDDEN = -1e9


@dataclasses.dataclass(frozen=True)
class MovePredictionSettings:
  """Keys of the config's `task` section.

  Attributes:
    planes: how many of the 48 input planes the network sees: 4 (stones and ones), 12 (and how long
      ago they were played), 20 (and liberties), 48; the paper's extended data table 3 has the same.
    symmetries: symmetries of the board over which an evaluation averages probabilities.
  """

  planes: Literal[4, 12, 20, 48] = 48
  symmetries: Literal[1, 2, 4, 8] = 1


@dataclasses.dataclass(frozen=True)
class MovePrediction(Task):
  """Softmax over the points of the board; illegal moves are left out in evaluation."""

  settings: MovePredictionSettings

  Settings: ClassVar = MovePredictionSettings
  needs: ClassVar = {"image": "image", "move": "point", "number": "vector"}
  metrics: ClassVar = (
    Metric("cross_entropy", "cross-entropy", "nats"),
    Metric("top1", "top-1 accuracy", "%", 100.0, "max"),
    Metric("top5", "top-5 accuracy", "%", 100.0, "max"),
    Metric("error", "error", "%", 100.0),
    Metric("phase_top1", "top-1 accuracy by phase", "%", 100.0, "max", per_class=True),
  )
  main_metric: ClassVar = "error"
  predicts_from: ClassVar = "games"
  evaluation_keys: ClassVar = ("symmetries",)

  @classmethod
  def create(
    cls, settings: MovePredictionSettings, features: Mapping[str, FeatureSpec]
  ) -> MovePrediction:
    """Returns the task."""
    return cls(settings)

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the policy network."""
    options = dict(options)
    name = options.pop("name")
    require_output(name, "policy")
    return create_model(name, dtype=dtype, **options)

  def inputs(self, batch: Batch, *, train: bool) -> tuple[Array, ...]:
    """Returns the planes that the network sees, float32 [batch, side, side, planes]."""
    return (batch["image"][..., : self.settings.planes],)

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Array]:
    """Returns the batch, and logits averaged over symmetries, far below all others where illegal."""
    if preprocess.eval_crops != "center":
      raise ConfigError(
        f"config key 'data.eval_crops' is {preprocess.eval_crops!r}; a board is seen whole: use "
        "'center', and 'task.symmetries' for the average over its symmetries"
      )
    batch = preprocess.eval(batch)
    (planes,) = self.inputs(batch, train=False)
    count, side = planes.shape[:2]
    numbers = range(self.settings.symmetries)
    each = jax.vmap(dihedral.transform, (0, None))
    views = jnp.concatenate([each(planes, number) for number in numbers])
    out = model.apply(variables, views, train=False)[0].reshape(-1, count, side, side)
    back = jax.vmap(dihedral.restore, (0, None))
    logits = jnp.stack([back(out[number], number) for number in numbers]).reshape(
      -1, count, side * side
    )
    legal = jnp.any(batch["image"][..., AFTER] > 0, axis=-1).reshape(count, -1)
    logits = jnp.where(legal, logits, FORBIDDEN)
    return batch, logits[0] if len(numbers) == 1 else log_mean_probability(logits, axis=0)

  def loss(self, out: Array, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the cross-entropy of the moves that were played."""
    losses = optax.softmax_cross_entropy_with_integer_labels(out, batch["move"])
    return Loss(jnp.sum(losses), losses.size)

  def metric_sums(self, out: Array, batch: Batch, mask: Array) -> Sums:
    """Returns sums of cross-entropy (nats), top-1 and top-5 hits, also by phase, and counts."""
    found = self.example_metrics(out, batch)
    hits = mask * (found["rank"] < 1)
    ends = jnp.array(list(PHASES.values()))
    phase = jnp.searchsorted(ends, batch["number"])
    member = jax.nn.one_hot(phase, len(PHASES)) * mask[:, None]
    return {
      "cross_entropy": jnp.sum(jnp.where(mask > 0, found["cross_entropy"], 0.0)),
      "top1": jnp.sum(hits),
      "top5": jnp.sum(mask * (found["rank"] < 5)),
      "phase_top1": hits @ member,
      "phase_count": member.sum(0),
      "count": jnp.sum(mask),
    }

  def example_metrics(self, out: Array, batch: Batch) -> dict[str, Array]:
    """Returns error (0 or 1), cross-entropy in nats, and the rank of the move that was played."""
    own = jnp.take_along_axis(out, batch["move"][:, None], axis=-1)
    earlier = jnp.arange(out.shape[-1])[None, :] < batch["move"][:, None]
    rank = jnp.sum((out > own) | ((out == own) & earlier), axis=-1)
    # A logit that is not a number is greater than nothing, which must not pass for a hit.
    rank = jnp.where(jnp.all(jnp.isfinite(out), axis=-1), rank, out.shape[-1])
    return {
      "error": (rank > 0).astype(jnp.uint8),
      "cross_entropy": optax.softmax_cross_entropy_with_integer_labels(out, batch["move"]),
      "rank": rank,
      "number": batch["number"],
    }

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns cross-entropy in nats, fractions of hits, and those by phase where it occurs."""
    count = float(sums["count"])
    top1 = float(sums["top1"]) / count
    phases = zip(np.asarray(sums["phase_top1"]), np.asarray(sums["phase_count"]), strict=True)
    return {
      "cross_entropy": float(sums["cross_entropy"]) / count,
      "top1": top1,
      "top5": float(sums["top5"]) / count,
      "error": 1.0 - top1,
      "phase_top1": {
        name: float(hits / n) if n else None for name, (hits, n) in zip(PHASES, phases, strict=True)
      },
      "count": round(count),
    }

  def predict(self, out: Array) -> dict[str, Array]:
    """Returns the probability of each point, [batch, side * side]."""
    return {"probabilities": jax.nn.softmax(out, axis=-1)}

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the probability of each move by its name, such as 'Q16', the most probable first."""
    return {"probabilities": dict(_ranked(prediction))}

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the most probable moves."""
    return [f"{name} {probability:.1%}" for name, probability in _ranked(prediction)[:top]]

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Returns the board with the probabilities; the player to move is Black unless it is known.

    Args:
      image: packed planes, uint8 [side, side, 6].
      prediction: `probabilities`, and `color` and `played` where they are known.
    """
    from cnnlab.go.picture import draw  # needs libraries that not everybody has

    planes = np.unpackbits(image, axis=-1, bitorder="little")
    color = int(prediction.get("color", 1))
    stones = color * planes[..., OWN] + (3 - color) * planes[..., THEIRS]
    played = prediction.get("played")
    newest = planes[..., NEWEST] & planes[..., THEIRS]
    return draw(
      stones,
      prediction["probabilities"],
      color,
      None if played is None else int(played),
      int(newest.argmax()) if newest.any() else None,
    )

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns the picture of the prediction, with the move that was played."""
    return super().panels(example, prediction | {"played": example["move"]})


def _ranked(prediction: Prediction) -> list[tuple[str, float]]:
  from cnnlab.go.board import name_of

  probabilities = prediction["probabilities"]
  side = round(len(probabilities) ** 0.5)
  order = np.argsort(-probabilities, kind="stable")
  return [(name_of(int(point), side), float(probabilities[point])) for point in order]
