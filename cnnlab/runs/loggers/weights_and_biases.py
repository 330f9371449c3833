"""The rows of a run in Weights & Biases; its own environment variables say where: WANDB_MODE, WANDB_PROJECT."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import wandb

from cnnlab.runs.loggers.trail import Trail, name_of
from cnnlab.types import JsonMapping

# Elsewhere a run that did not end well is shown by its exit code.
_EXIT_CODES = {"done": 0, "interrupted": 130}


class WeightsAndBiases:
  """One run of W&B for all sessions; its id is kept in the directory's `wandb.json`.

  Offline, each session leaves a folder below `wandb/`, and `wandb sync` makes one run of them.
  """

  def start(self, config: JsonMapping, directory: Path, step: int) -> None:
    """Begins, or goes on with the run that it began in an earlier session."""
    self._trail = Trail(directory / "wandb.json")
    if "id" not in self._trail.content:
      self._trail.keep(id=secrets.token_hex(4))
    self._run = wandb.init(
      project=os.environ.get("WANDB_PROJECT", "cnnlab"),
      name=name_of(directory),
      id=self._trail.content["id"],
      resume="allow",
      dir=str(directory),
      config=dict(config),
      reinit="create_new",  # several runs may be trained together
      # No prints between our lines, no question for a key, and no waiting for a network for long.
      settings=wandb.Settings(console="off", silent=True, login_timeout=1, init_timeout=30),
    )

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics `train/...`, `eval/...` after a step."""
    if self._trail.is_new(step):
      self._run.log(dict(metrics), step=step)

  def finish(self, status: str) -> None:
    """Ends the session with the run's status."""
    self._run.summary["status"] = status
    self._run.finish(exit_code=_EXIT_CODES.get(status, 1))
