"""Using a trained network again, from its run or checkpoint directory alone: evaluate, predict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cnnlab import data, tasks
from cnnlab.config import apply_overrides, flatten
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.runs import checkpoint
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.crops import forward_views
from cnnlab.train.evaluate import evaluate
from cnnlab.train.setup import build_model, prepare

EVAL_KEYS = ("data.", "eval_batch_size")


def config_from_json(saved: Mapping[str, Any]) -> ConfigDict:
  """Returns the page that a run's config.json came from, without what was derived."""
  flat = {key: value for key, value in flatten(saved).items() if not key.startswith("derived.")}
  return apply_overrides(default_config(), flat)


def evaluate_run(
  directory: str | Path, overrides: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Returns the metrics of the newest good checkpoint below `directory`, its `step` among them.

  Args:
    directory: a run's or a checkpoint's.
    overrides: of `data` and `eval_batch_size`, such as another place of the data set.

  Raises:
    RunError: there is no checkpoint that can be read.
    ConfigError: an override of anything else; it would be another network.
  """
  for key in overrides or {}:
    if not key.startswith(EVAL_KEYS):
      raise ConfigError(
        f"config key {key!r} cannot change in an evaluation; allowed: data.*, eval_batch_size"
      )
  enable_compile_cache()
  saved = checkpoint.restore(Path(directory))
  config = apply_overrides(config_from_json(saved["about"]["config"]), overrides or {})
  setup = prepare(config)
  try:
    preprocess = _with_statistics(setup.data.preprocess, _preprocess(saved))
    recipe = dataclasses.replace(setup.recipe, preprocess=preprocess)
    setup = dataclasses.replace(setup, recipe=recipe)
    first = setup.parallel.put_batch(next(setup.data.train.train_batches(0)))
    shapes = jax.eval_shape(
      setup.parallel.init(recipe), setup.data.train.constants, first, setup.key
    )
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    kept = {name: saved["state"][name] for name in ("params", "model_state", "ema")}
    state = setup.parallel.put(state.replace(**kept))
    return {"step": saved["step"], **evaluate(setup)(state)}
  finally:
    setup.data.close()


def _with_statistics(now: data.Preprocess, trained: data.Preprocess) -> data.Preprocess:
  """Returns `now` with the statistics that the network was trained with, whatever the data says.

  Raises:
    ConfigError: those are a mean image, and images now have another size.
  """
  if trained.mean.ndim == 3 and now.stored_size != trained.stored_size:
    raise ConfigError(
      f"config key 'data.resize': the run is centred by a mean image of {trained.stored_size}, which "
      f"does not fit images of {now.stored_size}"
    )
  return dataclasses.replace(now, mean=trained.mean, scale=trained.scale)


def predict(
  directory: str | Path, images: Sequence[str | Path]
) -> tuple[tuple[str, ...], np.ndarray]:
  """Returns (class names, probabilities [images, classes]) of image files.

  Args:
    directory: a run's or a checkpoint's; nothing else is needed.
    images: PNG or JPEG files, brought to the network's input as in evaluation.

  Raises:
    RunError: there is no checkpoint that can be read.
    DataError: an image cannot be read; it is named.
  """
  enable_compile_cache()
  saved = checkpoint.restore(Path(directory))
  config = saved["about"]["config"]
  names = tuple(config["derived"]["class_names"])
  task = tasks.create_task(ConfigDict(config["task"]), class_names=names)
  model = build_model(config["model"], task.outputs(), config["dtype"])
  preprocess = _preprocess(saved)
  variables = checkpoint.variables_of(saved["state"])
  stored = np.stack([preprocess.load_image(str(path)) for path in images])

  @jax.jit
  def forward(batch: jax.Array) -> jax.Array:
    return task.predict(forward_views(model, preprocess, variables, {"image": batch})[1])

  # One image at a time: one program for any number of images, and any size fits the memory.
  return names, np.concatenate([np.asarray(forward(image[None])) for image in stored])


def _preprocess(saved: Mapping[str, Any]) -> data.Preprocess:
  return data.Preprocess.from_parts(saved["about"]["preprocess"], saved["preprocess"])
