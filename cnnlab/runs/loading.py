"""A run read back from its directory, or from one checkpoint directory alone.

`load(directory)` reads only JSON; the network and its variables are restored on first access,
and only they need JAX.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ml_collections import ConfigDict

from cnnlab.errors import RunError
from cnnlab.runs.directory import read_json
from cnnlab.types import Json

if TYPE_CHECKING:
  import pandas as pd
  from flax import linen as nn
  from flax.typing import Collection

  from cnnlab.tasks import Task

CHECKPOINTS = "checkpoints"
ABOUT = "about"  # the item of a checkpoint that holds its JSON


@dataclass(frozen=True)
class Run:
  """One training run.

  Attributes:
    directory: the run directory, or the checkpoint directory if there is no run around it.
    checkpoint: the requested checkpoint step directory; None is the newest complete one.
  """

  directory: Path
  checkpoint: Path | None = None

  @cached_property
  def config(self) -> ConfigDict:
    """The resolved config, locked; derived values (steps, classes, cost) under `.derived`.

    Raises:
      RunError: config.json is missing or broken.
    """
    if self._stands_alone:
      return ConfigDict(_about(self.directory)["config"]).lock()
    return ConfigDict(read_json(self.directory / "config.json")).lock()

  @cached_property
  def status(self) -> Json:
    """The content of status.json; empty if the run has not written any."""
    return self._optional("status.json")

  @cached_property
  def environment(self) -> Json:
    """Versions, devices, git commit and command; empty if the run has not written any."""
    return self._optional("environment.json")

  @cached_property
  def metrics(self) -> pd.DataFrame:
    """One row per logged step: `step`, `epoch`, `train/...`, `eval/...` (NaN where not logged).

    Raises:
      RunError: a line before the last is broken.
    """
    rows = read_json_lines(self.directory / "metrics.jsonl")
    if not rows and self._stands_alone:
      rows = [{"step": int(self.directory.name)} | _about(self.directory)["metrics"]]
    return _table(rows)

  @cached_property
  def timing(self) -> pd.DataFrame:
    """One row per logged step: `step`, `seconds` of training so far, `images_per_second`."""
    return _table(read_json_lines(self.directory / "timing.jsonl"))

  @cached_property
  def task(self) -> Task:
    """The task (a `cnnlab.tasks.Task`) that the config names."""
    from cnnlab.tasks import saved_task

    return saved_task(self.config.to_dict())

  @cached_property
  def model(self) -> nn.Module:
    """The network (a Flax module) that the config names, as the task builds it."""
    return self.task.network(self.config.model.to_dict(), self.config.dtype)

  @cached_property
  def variables(self) -> dict[str, Collection]:
    """The network's variables (`params`, `batch_stats`, ...) at the checkpoint.

    Raises:
      RunError: there is no checkpoint that can be read.
    """
    from cnnlab.runs.checkpoint import restore_variables

    return restore_variables(self.checkpoint or self.directory)

  @property
  def _stands_alone(self) -> bool:
    return self.checkpoint is not None and self.checkpoint == self.directory

  def _optional(self, name: str) -> Json:
    path = self.directory / name
    return read_json(path) if path.is_file() else {}


def load(directory: str | os.PathLike[str]) -> Run:
  """Returns the run in a run directory, its `checkpoints/`, or one checkpoint step directory.

  Raises:
    RunError: the directory is missing or is not one of these.
  """
  path = Path(directory)
  if not path.is_dir():
    what = "is a file" if path.exists() else "does not exist"
    raise RunError(
      f"run directory {str(path)!r} {what}; expected a directory that holds config.json"
    )
  path = path.resolve()
  if is_run(path):
    return Run(path)
  if path.name == CHECKPOINTS and is_run(path.parent):
    return Run(path.parent)
  if _is_checkpoint(path):
    owner = path.parent.parent
    return Run(owner if is_run(owner) else path, checkpoint=path)
  below = find_runs(path)
  hint = f"; runs lie below it, such as {str(below[0])!r}" if below else ""
  raise RunError(f"{str(path)!r} is not a run directory: it holds no config.json{hint}")


def is_run(path: Path) -> bool:
  """Returns whether a directory is a run's: it holds config.json or status.json."""
  return (path / "config.json").is_file() or (path / "status.json").is_file()


def find_runs(root: str | os.PathLike[str]) -> list[Path]:
  """Returns every run directory at or below a directory, sorted.

  Raises:
    RunError: the directory does not exist.
  """
  top = Path(root)
  if not top.is_dir():
    raise RunError(f"directory {str(top)!r} does not exist")
  found = []
  for folder, below, files in os.walk(top):
    if "config.json" in files or "status.json" in files:
      found.append(Path(folder))
      below.clear()
  return sorted(found)


def read_json_lines(path: Path) -> list[Json]:
  """Returns the objects of a file with one JSON object per line; none if the file is absent.

  A truncated last line is skipped: it was being written when the run died.

  Raises:
    RunError: a line before the last is not a JSON object; the message gives the line's number.
  """
  if not path.is_file():
    return []
  lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
  rows = []
  for number, line in enumerate(lines, start=1):
    try:
      row = json.loads(line)
      if not isinstance(row, dict):
        raise ValueError(f"a {type(row).__name__} instead of an object")
    except ValueError as error:
      if number == len(lines):
        break
      raise RunError(f"{path}, line {number}: broken JSON ({error})") from error
    rows.append(row)
  return rows


def _is_checkpoint(path: Path) -> bool:
  return path.name.isdigit() and (path / ABOUT).is_dir()


def _about(directory: Path) -> Json:
  # Orbax's JSON handler keeps an item `about` in the file `about/metadata`.
  return read_json(directory / ABOUT / "metadata")


def _table(rows: list[Json]) -> pd.DataFrame:
  import pandas as pd

  return pd.DataFrame(rows, columns=None if rows else ["step"])
