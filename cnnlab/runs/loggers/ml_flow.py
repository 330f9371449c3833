"""The rows of a run in MLflow; its own environment variables say where: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path

# A server that does not answer is to cost seconds, not the minutes of MLflow's defaults.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")

import mlflow
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException

from cnnlab.config import flatten
from cnnlab.runs.loggers.trail import Trail, name_of
from cnnlab.types import JsonMapping

logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of each table that it makes

_STATUSES = {"done": "FINISHED", "interrupted": "KILLED"}
_MOST_PARAMETERS = 100  # of a call
_LONGEST = 6000  # characters of a parameter's value
_NOT_ALLOWED = re.compile(r"[^/\w.\- ]")  # in names


class MLflow:
  """One run of MLflow for all sessions; its place and id are kept in the directory's `mlflow.json`."""

  def start(self, config: JsonMapping, directory: Path, step: int) -> None:
    """Begins, or goes on with the run that it began in an earlier session."""
    self._trail = Trail(directory / "mlflow.json")
    place = self._trail.content.get("tracking_uri") or mlflow.get_tracking_uri()
    self._client = mlflow.MlflowClient(place)
    if "run_id" in self._trail.content:
      self._id = self._trail.content["run_id"]
      self._client.update_run(self._id, status="RUNNING")
      return
    run = self._client.create_run(self._experiment(), run_name=name_of(directory))
    self._id = run.info.run_id
    self._trail.keep(tracking_uri=place, run_id=self._id)
    parameters = [
      Param(_NOT_ALLOWED.sub("_", key), str(value)[:_LONGEST])
      for key, value in flatten(config).items()
    ]
    for first in range(0, len(parameters), _MOST_PARAMETERS):
      self._client.log_batch(self._id, params=parameters[first : first + _MOST_PARAMETERS])

  def _experiment(self) -> str:
    name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "cnnlab")
    if found := self._client.get_experiment_by_name(name):
      return found.experiment_id
    try:
      return self._client.create_experiment(name)
    except MlflowException:  # another run has just made it
      if found := self._client.get_experiment_by_name(name):
        return found.experiment_id
      raise

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics `train/...`, `eval/...` after a step."""
    if self._trail.is_new(step):
      now = round(1000 * time.time())
      rows = [Metric(_NOT_ALLOWED.sub("_", k), v, now, step) for k, v in metrics.items()]
      self._client.log_batch(self._id, metrics=rows)

  def finish(self, status: str) -> None:
    """Ends the session with the run's status."""
    self._client.set_terminated(self._id, _STATUSES.get(status, "FAILED"))
