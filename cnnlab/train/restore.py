"""Evaluating a trained network again, from its run or checkpoint directory alone."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import traverse_util
from ml_collections import ConfigDict

from cnnlab import data, tasks
from cnnlab.config import apply_overrides, flatten, upgrade_saved
from cnnlab.data.listing import listed
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError, DataError
from cnnlab.imports import import_recorded
from cnnlab.runs import checkpoint
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.evaluate import Evaluation, Progress
from cnnlab.train.norm_statistics import reestimated
from cnnlab.train.setup import Setup, prepare, with_statistics
from cnnlab.train.state import State
from cnnlab.types import PyTree
from cnnlab.weights import numbered_classes

EVAL_KEYS = ("data.", "eval_batch_size", "imports")  # and those that the task names


def _refuse_others(overrides: Mapping[str, Any], config: ConfigDict) -> None:
  """Raises ConfigError for a key that would make another network."""
  keys = [f"task.{key}" for key in tasks.evaluation_keys(config.task.to_dict())]
  for key in overrides:
    if not key.startswith(EVAL_KEYS) and key not in keys:
      allowed = ", ".join(["data.*", "eval_batch_size", *keys])
      raise ConfigError(f"config key {key!r} cannot change in an evaluation; allowed: {allowed}")


def config_from_json(saved: Mapping[str, Any]) -> ConfigDict:
  """Returns the page that a run's config.json came from, without what was derived.

  Its modules are left out: see `cnnlab.imports.import_recorded`.
  """
  today = flatten(upgrade_saved(saved))
  flat = {key: value for key, value in today.items() if not key.startswith(("derived.", "imports"))}
  return apply_overrides(default_config(), flat)


class Restored(NamedTuple):
  """A run that is ready to be evaluated: its setup, its state and the step of that."""

  setup: Setup
  state: State
  step: int


@contextlib.contextmanager
def restored(
  directory: str | Path, overrides: Mapping[str, Any] | None = None, reestimate: int = 0
) -> Iterator[Restored]:
  """Yields the newest good checkpoint below `directory`, with its data set; closes that at the end.

  Args:
    directory: a run's or a checkpoint's.
    overrides: of `data` and `eval_batch_size`, such as another place of the data set, and of the
      task's `evaluation_keys`, such as `task.crf`. Of another data set, as `data.name` says, every
      example is evaluated where it has one split only, unless `data.eval_fraction` is given; images
      are fitted to the size that was trained on.
    reestimate: training batches over which the norms' moving averages are estimated anew, see
      `cnnlab.train.norm_statistics`; 0 keeps those of the checkpoint.

  Raises:
    RunError: there is no checkpoint that can be read.
    ConfigError: an override of anything else; it would be another network.
    DataError: the data set cannot be read, or has other classes than the run was trained on.
  """
  enable_compile_cache()
  saved = checkpoint.restore(Path(directory))
  if "imports" not in (overrides or {}):
    import_recorded(saved["about"]["config"], directory)
  trained = data.Preprocess.from_parts(saved["about"]["preprocess"], saved["preprocess"])
  config = config_from_json(saved["about"]["config"])
  _refuse_others(overrides or {}, config)
  given = dict(overrides or {})
  other = given.get("data.name", config.data.name) != config.data.name
  if other:
    given = for_other_data(trained) | given
    given |= {"batch_size": config.batch_size} if reestimate else {}
  # Where the run itself started from may be gone.
  given |= {"init_from": "", "init_head": "keep", "init_statistics": "data"}
  setup = prepare(apply_overrides(config, given), whole=other and "data.eval_fraction" not in given)
  try:
    _require_same_classes(setup.data, saved["about"]["config"], given.get("data.name"))
    preprocess = with_statistics(setup.data.preprocess, trained)
    program = dataclasses.replace(setup.program, preprocess=preprocess)
    setup = dataclasses.replace(setup, program=program)
    first = setup.parallel.put_batch(next(setup.data.train.train_batches(0)))
    shapes = jax.eval_shape(
      setup.parallel.init(program), setup.data.train.constants, first, setup.key
    )
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    _require_parameters(shapes.params, saved["state"]["params"], directory)
    kept = {name: saved["state"][name] for name in ("params", "model_state", "ema")}
    state = setup.parallel.put(state.replace(**kept))
    if reestimate:
      state = reestimated(setup, state, reestimate)
    yield Restored(setup, state, saved["step"])
  finally:
    setup.data.close()


def evaluate_run(
  directory: str | Path,
  overrides: Mapping[str, Any] | None = None,
  progress: Progress | None = None,
  reestimate: int = 0,
) -> dict[str, Any]:
  """Returns the metrics of the newest good checkpoint below `directory`, its `step` among them.

  Args:
    directory, overrides, reestimate: as of `restored`.
    progress: called with (evaluated batches, batches in all).

  Raises:
    RunError, ConfigError: as `restored` does.
  """
  with restored(directory, overrides, reestimate) as run:
    return {"step": run.step, **Evaluation(run.setup, progress=progress)(run.state)}


def _require_parameters(wanted: PyTree, saved: PyTree, directory: str | Path) -> None:
  """Raises ConfigError if a network has parameters that were not trained."""
  missing = set(traverse_util.flatten_dict(wanted, sep="/")) - set(
    traverse_util.flatten_dict(saved, sep="/")
  )
  if missing:
    raise ConfigError(
      f"{directory} has no weights for {', '.join(sorted(missing))}: a random field with something to "
      "learn cannot be added in an evaluation"
    )


def for_other_data(trained: data.Preprocess) -> dict[str, Any]:
  """Returns overrides that evaluate another data set than the run's: sizes as trained, no part of it."""
  defaults = flatten(default_config())
  selecting = ("dir", "train_split", "eval_split", "train_examples", "eval_examples", "validation")
  return {f"data.{key}": defaults[f"data.{key}"] for key in (*selecting, "max_bad_images")} | {
    "data.image_size": trained.image_size,
    "data.resize": trained.stored_size,
    "data.channels": trained.channels if trained.channels in (1, 3) else 0,
    # Nothing is trained: the set may be smaller than a batch.
    "batch_size": jax.device_count(),
    "accumulate": 1,
  }


def _require_same_classes(loaded: data.Data, saved: Mapping[str, Any], name: str | None) -> None:
  """Raises DataError where a data set's classes are not those of a run's resolved config."""
  task = saved.get("task", {}).get("name", "classification")
  if task == "classification" and saved["derived"].get("num_classes") == 0:
    raise DataError(
      "the run is an encoder without classifier, which cannot be evaluated; `cnnlab codes` trains a "
      "classifier on it"
    )
  trained = tuple(saved["derived"].get("class_names") or loaded.class_names)
  numbered = trained == tuple(numbered_classes(len(loaded.class_names)))  # names are not known
  if loaded.class_names != trained and not numbered:
    raise DataError(
      f"{name or 'the data set'} has the classes {listed(loaded.class_names)}; the run was trained on "
      f"{listed(trained)}"
    )
