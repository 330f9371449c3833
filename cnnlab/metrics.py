"""What a metric is called, its unit, and which direction is better: declared once, read everywhere.

A task declares its metrics; a run keeps the declarations in its config.json, so that consoles,
reports and verdicts describe any task's metrics without knowing the task. Nothing here needs JAX.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

SPLITS = {"eval": "test", "train": "training", "trainset": "training-set"}


@dataclass(frozen=True)
class Metric:
  """One metric of a task, of the train loop, or of a run's cost.

  Attributes:
    name: the last part of its name in metrics.jsonl (`error` of `eval/error`).
    label: as people call it, for tables and axes.
    unit: after conversion by `factor`; empty if it has none.
    factor: from the stored value to `unit` (100 turns a fraction into percent).
    better: whether lower ('min') or higher ('max') values are better.
    per_class: stored for each class, as `eval/<name>/<class>`; absent classes are null.
  """

  name: str
  label: str = ""
  unit: str = ""
  factor: float = 1.0
  better: Literal["min", "max"] = "min"
  per_class: bool = False


CLASSIFICATION: tuple[Metric, ...] = (
  Metric("cross_entropy", "cross-entropy", "nats"),
  Metric("top1", "top-1 accuracy", "%", 100.0, "max"),
  Metric("top5", "top-5 accuracy", "%", 100.0, "max"),
  Metric("error", "error", "%", 100.0),
)
GENERAL = (
  Metric("loss", "loss"),
  Metric("grad_norm", "gradient norm"),
  Metric("ms_per_step", "time of a step", "ms"),
  Metric("seconds", "training time", "s"),
  Metric("multiply_adds", "multiply-adds"),
)


def to_json(metrics: Iterable[Metric]) -> dict[str, dict[str, Any]]:
  """Returns `{name: fields}`, as a run's config.json holds it under `derived.metrics`."""
  return {metric.name: asdict(metric) for metric in metrics}


def from_json(saved: Mapping[str, Mapping[str, Any]]) -> tuple[Metric, ...]:
  """Returns the metrics that `to_json` wrote; fields that a later version added are ignored."""
  known = Metric.__dataclass_fields__
  return tuple(
    Metric(**{key: value for key, value in fields.items() if key in known})
    for fields in saved.values()
  )


def find(name: str, declared: Iterable[Metric] = ()) -> Metric:
  """Returns the declaration of a metric such as `eval/error` or `eval/iou/road`.

  Args:
    name: as in metrics.jsonl, with or without its split.
    declared: a task's metrics; those of classification and of the train loop are always known.

  Returns:
    The declaration. An unknown metric gets its own name as label, no unit, and lower is better.
  """
  split, _, rest = name.partition("/")
  leaf = (rest if split in SPLITS and rest else name).partition("/")[0]
  for metric in (*declared, *CLASSIFICATION, *GENERAL):
    if metric.name == leaf:
      return metric
  return Metric(leaf, leaf.replace("_", " "))
