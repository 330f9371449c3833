"""Checkpoints of a run: written asynchronously by Orbax, checked when they are read.

Each `checkpoints/<step>/` holds the state's arrays, the preprocessing's arrays, and JSON
of the config, the metrics and a checksum per array, so it can be read on its own.
A checkpoint that cannot be read, or whose checksums do not match, is skipped in favor of the
one before it.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import numpy as np

from cnnlab.errors import RunError
from cnnlab.runs.checksums import checksums, crc_of, signed, verify
from cnnlab.runs.directory import remove_unfinished
from cnnlab.runs.files import read_json
from cnnlab.runs.named import ABOUT, is_checkpoint, resolve
from cnnlab.runs.orbax_errors import hush_echoes, quietly, reason
from cnnlab.runs.status import read_status
from cnnlab.types import Json, JsonMapping, PyTree

if TYPE_CHECKING:
  from flax.typing import Collection

log = logging.getLogger(__name__)

STATE, PREPROCESS = "state", "preprocess"


class Checkpoints:
  """The checkpoints of one run.

  Args:
    run: the run's directory; they lie in its `checkpoints/`.
    keep: how many of the newest are kept.
    best: (metric, 'min'|'max'); the best by it is kept as well.
  """

  def __init__(self, run: Path, *, keep: int = 2, best: tuple[str, str] | None = None):
    import orbax.checkpoint as ocp
    from orbax.checkpoint import checkpoint_managers as policies

    kept: list[policies.PreservationPolicy] = [policies.LatestN(keep)]
    if best:
      metric, mode = best
      kept.append(
        policies.BestN(
          get_metric_fn=lambda metrics: metrics[metric],
          reverse=mode == "min",
          n=1,
          keep_checkpoints_without_metrics=False,
        )
      )
    hush_echoes()
    self._directory = Path(run).absolute() / "checkpoints"
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy(kept),
        cleanup_tmp_directories=True,
        enable_async_checkpointing=True,
      ),
    )
    self._ocp = ocp

  def save(
    self, step: int, state: PyTree, about: JsonMapping, preprocess: Mapping[str, PyTree]
  ) -> None:
    """Starts a save; returns once the arrays are copied.

    Args:
      step: number of finished training steps.
      state: the whole training state, a pytree.
      about: JSON values: `config` and `metrics` (name -> float, of the last evaluation).
      preprocess: arrays of the preprocessing.

    Raises:
      RunError: this save, or the one before it, could not be written (a full disk, say).
    """
    args = self._ocp.args
    sums = {"checksums": checksums(state), "preprocess_checksums": checksums(dict(preprocess))}
    items = {
      STATE: args.StandardSave(state),
      PREPROCESS: args.StandardSave(dict(preprocess)),
      ABOUT: args.JsonSave(signed({**about, **sums})),
    }
    with self._naming_the_reason():
      metrics = dict(about["metrics"]) or None
      self._manager.save(step, args=args.Composite(**items), metrics=metrics)

  def wait(self) -> None:
    """Waits until every requested save is on disk.

    Raises:
      RunError: something could not be written.
    """
    with self._naming_the_reason():
      self._manager.wait_until_finished()

  @contextlib.contextmanager
  def _naming_the_reason(self) -> Iterator[None]:
    """Turns any error during a save into a RunError, and frees the space that the attempt took."""
    try:
      yield
    except Exception as error:  # Orbax wraps the system's errors in several kinds
      raise self.write_error(f"a checkpoint to {self._directory}", error) from error

  def write_error(self, what: str, error: Exception) -> RunError:
    """Returns the error for something that could not be written, with the checkpoints that are whole.

    A save that is under way is waited for, and what it leaves unfinished is removed.
    """
    with contextlib.suppress(Exception):  # it fails for the same reason
      self._manager.wait_until_finished()
    remove_unfinished(self._directory)
    whole = ", ".join(path.name for path in checkpoint_steps(self._directory)) or "none"
    return RunError(
      f"cannot write {what}: {reason(error)}; of the checkpoints, the older ones ({whole}) are intact"
    )

  def steps(self) -> list[int]:
    """Returns the steps of the checkpoints that exist, oldest first."""
    return sorted(self._manager.all_steps())

  def restore_latest(self, template: PyTree) -> tuple[int, PyTree, Json] | None:
    """Returns (step, state, its JSON) of the newest good checkpoint, or None if there is none.

    Damaged ones are named in a warning and removed, since the run will write those steps again.

    Args:
      template: a pytree of the state's structure, of `jax.ShapeDtypeStruct` with sharding.

    Raises:
      RunError: there are checkpoints, but none can be read.
    """
    damaged = []
    for step in reversed(self.steps()):
      try:
        state, about = quietly(functools.partial(self._read, step, template))
      except RunError as error:
        log.warning("checkpoint %s/%d is damaged (%s)", self._directory, step, error)
        damaged.append(step)
        continue
      for bad in damaged:
        log.warning("resuming from step %d; removing the damaged checkpoint %d", step, bad)
        self._manager.delete(bad)
      return step, state, about
    if damaged:
      raise RunError(f"{self._directory}: none of the checkpoints {damaged} can be read")
    return None

  def _read(self, step: int, template: PyTree) -> tuple[PyTree, Json]:
    args = self._ocp.args
    about = read_about(self._directory / str(step))
    read = self._manager.restore(
      step, args=args.Composite(**{STATE: args.StandardRestore(template)})
    )
    verify(read[STATE], about["checksums"])
    return read[STATE], about

  def close(self) -> None:
    """Waits for pending writes and closes the manager; a write that fails now is logged.

    It must not hide the error that ended the run; `wait` raises where there is none.
    """
    try:
      self._manager.close()
    except Exception as error:
      log.warning("%s", self.write_error(f"a checkpoint to {self._directory}", error))


def checkpoint_steps(directory: Path) -> list[Path]:
  """Returns the finished checkpoints of a run, `checkpoints/` or single checkpoint directory, oldest first.

  Raises:
    RunError: `checkpoints/best` is asked for, and no checkpoint was evaluated.
  """
  from orbax.checkpoint.utils import is_checkpoint_finalized

  directory = resolve(Path(directory).absolute())
  if is_checkpoint(directory):
    return [directory]
  inside = directory / "checkpoints" if (directory / "checkpoints").is_dir() else directory
  found = [p for p in inside.glob("*") if p.name.isdigit() and is_checkpoint_finalized(p)]
  return sorted(found, key=lambda p: int(p.name))


def read_about(directory: Path) -> Json:
  """Returns the JSON of the newest checkpoint below `directory`: config, metrics, checksums.

  Raises:
    RunError: there is no checkpoint there, or its JSON is damaged.
  """
  steps = checkpoint_steps(directory)
  if not steps:
    raise RunError(f"{directory}: no checkpoint there")
  path = steps[-1] / ABOUT / "metadata"
  about = read_json(path)
  if "crc32" in about and about["crc32"] != crc_of(about):
    raise RunError(f"{path}: checksum mismatch")
  for key in ("config", "metrics", "checksums"):
    if not isinstance(about.get(key), dict):
      raise RunError(f"{path}: {key!r} is missing or no object")
  return about


class Restored(TypedDict):
  """A checkpoint read from disk.

  Attributes:
    step: number of finished training steps.
    state: the training state as nested dicts of NumPy arrays.
    preprocess: arrays of the preprocessing.
    about: JSON values: `config`, `metrics` and `checksums`.
    directory: the checkpoint's directory.
  """

  step: int
  state: dict[str, PyTree]
  preprocess: dict[str, PyTree]
  about: Json
  directory: Path


def restore(directory: Path) -> Restored:
  """Returns the newest good checkpoint below `directory` as plain nested dicts of NumPy arrays.

  Raises:
    RunError: there is no checkpoint, or none that can be read.
  """
  steps = checkpoint_steps(directory)
  if not steps:
    raise RunError(f"{directory}: no checkpoint there")
  _tell_of_missing(Path(directory), int(steps[-1].name))
  for path in reversed(steps):
    try:
      return quietly(functools.partial(_restore, path))
    except RunError as error:
      log.warning("checkpoint %s is damaged (%s); trying the one before it", path, error)
  raise RunError(f"{directory}: none of the checkpoints {[int(p.name) for p in steps]} can be read")


def _tell_of_missing(directory: Path, newest: int) -> None:
  """Logs a warning if a run's last checkpoint is gone, so that an older one takes its place."""
  try:
    status = read_status(directory)
  except RunError as error:
    log.warning("%s; whether the last checkpoint is there is unknown", error)
    return
  step = status.get("step")
  if status.get("status") == "done" and isinstance(step, int) and step > newest:
    log.warning(
      "%s is damaged: it ended at step %d, but its newest checkpoint is of step %d",
      directory, step, newest,
    )  # fmt: skip


def _restore(path: Path) -> Restored:
  state, preprocess = _read_arrays(path / STATE), _read_arrays(path / PREPROCESS)
  about = read_about(path)
  verify(state, about["checksums"])
  if "preprocess_checksums" in about:  # earlier code wrote none
    verify(preprocess, about["preprocess_checksums"])
  return {
    "step": int(path.name),
    "state": state,
    "preprocess": preprocess,
    "about": about,
    "directory": path,
  }


def restore_variables(directory: Path) -> dict[str, Collection]:
  """Returns the variables for `model.apply` from the newest good checkpoint below `directory`."""
  return variables_of(restore(directory)["state"])


def variables_of(state: Mapping[str, PyTree]) -> dict[str, Collection]:
  """Returns the variables for `model.apply` of a restored state; the averaged ones if it has them."""
  return {"params": state["ema"] or state["params"], **state["model_state"]}


def _read_arrays(path: Path) -> dict[str, PyTree]:
  """Returns a saved pytree as NumPy arrays, whatever devices it was saved from."""
  import jax
  import orbax.checkpoint as ocp

  with ocp.PyTreeCheckpointer() as checkpointer:
    metadata = checkpointer.metadata(path).item_metadata.tree
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), metadata)
    return checkpointer.restore(path, args=ocp.args.PyTreeRestore(restore_args=as_numpy))
