"""What a network is for: targets, loss, metrics and predictions of one kind of problem."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from cnnlab.errors import ConfigError, DataError, shown, unknown
from cnnlab.metrics import Metric
from cnnlab.register import register
from cnnlab.settings import bind
from cnnlab.tasks.autoencoding import Autoencoding
from cnnlab.tasks.base import Accumulator, FeatureSpec, Loss, Task
from cnnlab.tasks.classification import Classification
from cnnlab.tasks.detection import Detection
from cnnlab.tasks.lesions import Lesions
from cnnlab.tasks.localisation import Localisation
from cnnlab.tasks.metric_learning import MetricLearning
from cnnlab.tasks.move_prediction import MovePrediction
from cnnlab.tasks.region_detection import RegionDetection
from cnnlab.tasks.segmentation import Segmentation
from cnnlab.types import JsonMapping

TASKS: dict[str, type[Task]] = {
  "autoencoding": Autoencoding,
  "classification": Classification,
  "detection": Detection,
  "lesions": Lesions,
  "localisation": Localisation,
  "metric_learning": MetricLearning,
  "move_prediction": MovePrediction,
  "region_detection": RegionDetection,
  "segmentation": Segmentation,
}

__all__ = [
  "TASKS",
  "Accumulator",
  "Autoencoding",
  "Classification",
  "Detection",
  "Localisation",
  "Loss",
  "MetricLearning",
  "MovePrediction",
  "RegionDetection",
  "Segmentation",
  "Task",
  "create_task",
  "evaluation_keys",
  "main_metric",
  "register_task",
  "saved_task",
  "task_settings",
]


def register_task(name: str, task: type[Task], *, replace: bool = False) -> None:
  """Makes a task available as `config.task.name`.

  Args:
    name: of the task.
    task: a frozen dataclass that derives from `Task`.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: it is no such class, or the name is taken.
  """
  if not (isinstance(task, type) and issubclass(task, Task)):
    raise ConfigError(f"task {name!r} is {shown(task)}; allowed: a class that derives from Task")
  register(TASKS, "task", name, task, replace=replace)


def main_metric(name: str) -> Metric:
  """Returns the declaration of the metric by which a task judges its runs.

  Raises:
    ConfigError: an unknown task.
  """
  task = _task({"name": name})
  return next(metric for metric in task.metrics if metric.name == task.main_metric)


def task_settings(section: JsonMapping) -> Any:
  """Returns the settings of the task that a config's `task` section names.

  Raises:
    ConfigError: an unknown task or a value of the wrong type.
  """
  return bind(_task(section).Settings, section, "task")


def evaluation_keys(section: JsonMapping) -> tuple[str, ...]:
  """Returns the settings of the task that a config's `task` section names which an evaluation may change.

  Raises:
    ConfigError: an unknown task.
  """
  return _task(section).evaluation_keys


def create_task(section: JsonMapping, features: Mapping[str, FeatureSpec]) -> Task:
  """Returns the task that a config's `task` section names, for a data set.

  Args:
    section: `name` and the task's settings.
    features: of the data set.

  Raises:
    ConfigError: an unknown task, or settings that make no sense.
    DataError: the data set lacks a feature that the task needs.
  """
  task = _task(section)
  for name, kind in task.needs.items():
    if name not in features or features[name].kind != kind:
      found = ", ".join(f"{key} ({feature.kind})" for key, feature in features.items())
      raise DataError(
        f"task {section['name']!r} needs a feature {name!r} of kind {kind!r}; the data set has {found}"
      )
  return task.create(task_settings(section), features)


def saved_task(config: JsonMapping) -> Task:
  """Returns the task of a run's resolved config, without its data set."""
  derived = config["derived"]
  saved = derived.get("features")
  if saved is None:  # written before data sets declared their features
    names = derived.get("class_names") or [str(i) for i in range(derived["num_classes"])]
    saved = {"image": {"kind": "image", "names": ()}, "label": {"kind": "label", "names": names}}
  features = {
    name: SavedFeature(feature["kind"], tuple(feature["names"])) for name, feature in saved.items()
  }
  return create_task(config.get("task", {"name": "classification"}), features)


class SavedFeature(NamedTuple):
  """Kind and class names of a feature, as a run's config.json holds them."""

  kind: str
  names: tuple[str, ...] = ()


def _task(section: JsonMapping) -> type[Task]:
  name = section["name"]
  if not isinstance(name, str) or name not in TASKS:
    raise ConfigError(unknown("value of config key 'task.name'", name, TASKS))
  return TASKS[name]
