"""Using a trained network again, from its run or checkpoint directory alone: evaluate, predict."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from cnnlab import data, tasks
from cnnlab.config import apply_overrides, flatten, upgrade_saved
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.runs import checkpoint
from cnnlab.tasks.base import Prediction
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.train.evaluate import Evaluation
from cnnlab.train.setup import prepare

EVAL_KEYS = ("data.", "eval_batch_size")


def config_from_json(saved: Mapping[str, Any]) -> ConfigDict:
  """Returns the page that a run's config.json came from, without what was derived."""
  today = flatten(upgrade_saved(saved))
  flat = {key: value for key, value in today.items() if not key.startswith("derived.")}
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
    program = dataclasses.replace(setup.program, preprocess=preprocess)
    setup = dataclasses.replace(setup, program=program)
    first = setup.parallel.put_batch(next(setup.data.train.train_batches(0)))
    shapes = jax.eval_shape(
      setup.parallel.init(program), setup.data.train.constants, first, setup.key
    )
    state = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    kept = {name: saved["state"][name] for name in ("params", "model_state", "ema")}
    state = setup.parallel.put(state.replace(**kept))
    return {"step": saved["step"], **Evaluation(setup)(state)}
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


class Predicted(NamedTuple):
  """A prediction for an image file.

  Attributes:
    image: the whole image, uint8 [height, width, channels].
    prediction: what the task predicts, in that image's size.
  """

  image: np.ndarray
  prediction: Prediction


class Predictor:
  """A trained network with its task and preprocessing, from a run or checkpoint directory alone.

  Raises:
    RunError: there is no checkpoint that can be read.
  """

  def __init__(self, directory: str | Path):
    enable_compile_cache()
    saved = checkpoint.restore(Path(directory))
    config = upgrade_saved(saved["about"]["config"])
    self.task = tasks.saved_task(config)
    self.preprocess = _preprocess(saved)
    model = self.task.network(config["model"], config["dtype"])
    variables = checkpoint.variables_of(saved["state"])

    @jax.jit
    def forward(image: jax.Array) -> dict[str, jax.Array]:
      _, out = self.task.evaluate(model, variables, self.preprocess, {"image": image})
      return self.task.predict(out)

    # One image at a time: one program for any number of images, and any size fits the memory.
    self._forward = forward

  def __call__(self, path: str | Path) -> Predicted:
    """Returns the prediction for a PNG or JPEG file, which is fitted to the input as in evaluation.

    Raises:
      DataError: the image cannot be read; it is named.
    """
    stored, view = self.preprocess.load(str(path))
    found = {name: np.asarray(a)[0] for name, a in self._forward(stored[None]).items()}
    image = data.load_image(path, channels=self.preprocess.channels)
    return Predicted(image, self.task.restore(found, view))


def predict(
  directory: str | Path, images: Sequence[str | Path]
) -> tuple[tasks.Task, list[Prediction]]:
  """Returns the run's task and its predictions for image files, in their original sizes.

  Args:
    directory: a run's or a checkpoint's; nothing else is needed.
    images: PNG or JPEG files.

  Raises:
    RunError: there is no checkpoint that can be read.
    DataError: an image cannot be read; it is named.
  """
  predictor = Predictor(directory)
  return predictor.task, [predictor(path).prediction for path in images]


def _preprocess(saved: Mapping[str, Any]) -> data.Preprocess:
  return data.Preprocess.from_parts(saved["about"]["preprocess"], saved["preprocess"])
