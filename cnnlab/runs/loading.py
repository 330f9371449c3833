"""A run read back from its directory, or from one checkpoint directory alone.

`load(directory)` reads only JSON; the network and its variables are restored on first access,
and only they need JAX.
"""

from __future__ import annotations

import logging
import os
import zipfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ml_collections import ConfigDict

from cnnlab.errors import RunError
from cnnlab.runs.directory import PER_EXAMPLE
from cnnlab.runs.files import present, read_json
from cnnlab.runs.named import CHECKPOINTS, about, best_checkpoint, is_checkpoint, resolve
from cnnlab.runs.rows import complaint, read_json_lines
from cnnlab.runs.status import read_status
from cnnlab.types import Json

if TYPE_CHECKING:
  import numpy as np
  import pandas as pd
  from flax import linen as nn
  from flax.typing import Collection

  from cnnlab.data.given import GivenImages
  from cnnlab.runs.export import Format, Names
  from cnnlab.runs.trained import Trained
  from cnnlab.tasks import Task

__all__ = ["Run", "find_runs", "is_run", "load", "read_json_lines"]

log = logging.getLogger(__name__)

MARKS = {"config.json", "status.json"}  # a directory that holds one of them is a run's


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
      return ConfigDict(about(self.directory)["config"]).lock()
    return ConfigDict(read_json(self.directory / "config.json")).lock()

  @cached_property
  def status(self) -> Json:
    """The content of status.json; empty if the run has not written any.

    Raises:
      RunError: status.json is damaged.
    """
    return read_status(self.directory)

  @cached_property
  def environment(self) -> Json:
    """Versions, devices, git commit and command; empty if the run has not written any.

    Raises:
      RunError: environment.json is damaged.
    """
    path = self.directory / "environment.json"
    return read_json(path) if present(path) else {}

  @cached_property
  def metrics(self) -> pd.DataFrame:
    """One row per logged step: `step`, `epoch`, `train/...`, `eval/...` (NaN where not logged).

    A warning is logged if rows are missing or not as they were written.

    Raises:
      RunError: a line before the last is broken.
    """
    rows = self._rows("metrics")
    if not rows and self._stands_alone:
      rows = [{"step": int(self.directory.name)} | about(self.directory)["metrics"]]
    return _table(rows)

  @cached_property
  def timing(self) -> pd.DataFrame:
    """One row per logged step: `step`, `seconds` of training so far, `images_per_second`."""
    return _table(self._rows("timing"))

  @cached_property
  def task(self) -> Task:
    """The task (a `cnnlab.tasks.Task`) that the config names."""
    from cnnlab.imports import import_recorded
    from cnnlab.tasks import saved_task

    import_recorded(self.config.to_dict(), self.directory)
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
    return self.trained.variables

  @cached_property
  def trained(self) -> Trained:
    """The network with its variables, task and preprocessing, as `predict` uses them.

    Raises:
      RunError: there is no checkpoint that can be read.
    """
    from cnnlab.runs.trained import Trained

    return Trained.restore(self.checkpoint or self.directory)

  @cached_property
  def best(self) -> Run:
    """The same run at its best checkpoint by the task's main metric, as it was evaluated in training.

    Raises:
      RunError: none of its checkpoints has been evaluated.
    """
    return Run(self.directory, best_checkpoint(self.directory / CHECKPOINTS))

  @cached_property
  def examples(self) -> dict[str, np.ndarray]:
    """Arrays [n, ...] of each evaluated example at the end of training; empty before that.

    Raises:
      RunError: per_example.npz is damaged.
    """
    import numpy as np

    path = self.directory / PER_EXAMPLE
    if not present(path):
      return {}
    try:
      with np.load(path) as arrays:
        return dict(arrays)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
      raise RunError(f"{path}: cannot be read ({error})") from error

  def predict(self, images: GivenImages) -> Any:
    """Returns what the network predicts; for a classifier, a `cnnlab.tasks.classified.Classified`.

    Images are scaled, cropped and normalized as in the run's evaluation.

    Args:
      images: as they are: PNG or JPEG files, a folder of them, PIL images, or uint8 arrays
        [height, width], [height, width, channels] or [batch, height, width, channels] of any size;
        one, or a list.

    Returns:
      Class names and probabilities of a classifier; of another task, see its `results`.

    Raises:
      RunError: there is no checkpoint that can be read.
      DataError: an image cannot be read, or an array does not look like images.
    """
    names, predictions = zip(*self.trained.predictions(images), strict=True)
    return self.trained.task.results(names, predictions)

  def preprocess(self, images: GivenImages) -> np.ndarray:
    """Returns images as `model.apply` takes them: float32 [batch, height, width, channels].

    Args:
      images: as of `predict`.

    Raises:
      RunError, DataError: as `predict` does.
    """
    return self.trained.inputs(images)

  def embed(
    self, images: GivenImages, layer: str = "pre_logits", pooled: bool = True
  ) -> np.ndarray:
    """Returns an intermediate result of the network for images, float32.

    Args:
      images: as of `predict`.
      layer: a stage of the network, such as `stage2`; `trained.stages()` lists them. The default is
        what the classifier sees.
      pooled: whether maps [height, width, channels] and tokens [tokens, channels] are averaged over
        positions.

    Returns:
      [batch, channels], or the stage as it is, [batch, ...].

    Raises:
      ConfigError: the network has no such stage; its stages are named.
      RunError, DataError: as `predict` does.
    """
    return self.trained.embeddings(images, layer, pooled)

  def export(
    self, file: str | os.PathLike[str], format: Format = "safetensors", names: Names = "cnnlab"
  ) -> Path:
    """Writes the network to a new file for use without cnnlab; see `cnnlab.runs.export`.

    Args:
      file: must not exist.
      format: 'safetensors' holds the variables; 'stablehlo' and 'onnx' (which needs `cnnlab[onnx]`)
        the whole program from uint8 images to predictions.
      names: of the variables in a .safetensors file: 'cnnlab' or 'torchvision'.

    Returns:
      The path of the file.

    Raises:
      RunError: there is no checkpoint that can be read, or the file cannot be written.
      ConfigError: an unknown format, or torchvision has no such network.
      ExportError: the file exists, or the network cannot be expressed in the format.
    """
    from cnnlab.runs.export import export

    return export(self.trained, file, format, names)

  @property
  def _stands_alone(self) -> bool:
    return self.checkpoint is not None and self.checkpoint == self.directory

  def _rows(self, name: str) -> list[Json]:
    path = self.directory / f"{name}.jsonl"
    rows = read_json_lines(path)
    try:
      problem = complaint(path, _mapping(self.status.get("logged")).get(name))
    except RunError as error:
      problem = f"whether rows are missing is unknown ({error})"
    if problem:
      log.warning("%s is damaged: %s", path, problem)
    return rows


def load(directory: str | os.PathLike[str]) -> Run:
  """Returns the run in a run directory, its `checkpoints/`, or one checkpoint step directory.

  Args:
    directory: `<run>/checkpoints/best` is the best checkpoint by the main metric of its task.

  Raises:
    RunError: the directory is missing or is not one of these.
  """
  path = resolve(Path(directory))
  if not os.path.isdir(path):
    what = "is no directory" if os.path.lexists(path) else "does not exist"
    raise RunError(
      f"run directory {str(path)!r} {what}; expected a directory that holds config.json"
    )
  path = path.resolve()
  if is_run(path):
    return Run(path)
  if path.name == CHECKPOINTS and is_run(path.parent):
    return Run(path.parent)
  if is_checkpoint(path):
    owner = path.parent.parent
    return Run(owner if is_run(owner) else path, checkpoint=path)
  below = find_runs(path)
  hint = f"; runs lie below it, such as {str(below[0])!r}" if below else ""
  raise RunError(f"{str(path)!r} is not a run directory: it holds no config.json{hint}")


def is_run(path: Path) -> bool:
  """Returns whether a directory is a run's: it holds config.json or status.json, be they damaged."""
  return any(present(path / name) for name in MARKS)


def find_runs(root: str | os.PathLike[str]) -> list[Path]:
  """Returns every run directory at or below a directory, sorted.

  A folder that cannot be looked into is told in a warning.

  Raises:
    RunError: the directory does not exist.
  """
  top = Path(root)
  if not os.path.isdir(top):
    raise RunError(f"directory {str(top)!r} does not exist")
  found = []
  for folder, below, files in os.walk(top, onerror=lambda e: log.warning("cannot look into %s", e)):
    if not MARKS.isdisjoint([*below, *files]):
      found.append(Path(folder))
      below.clear()
  return sorted(found)


def _mapping(value: object) -> Json:
  return value if isinstance(value, dict) else {}


def _table(rows: list[Json]) -> pd.DataFrame:
  import pandas as pd

  return pd.DataFrame(rows, columns=None if rows else ["step"])
