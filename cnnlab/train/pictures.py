"""Pictures of a trained network's predictions on the first examples of the evaluation split."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from cnnlab.tasks import Task
from cnnlab.tasks.base import num_examples
from cnnlab.train.setup import Setup
from cnnlab.train.state import State
from cnnlab.train.step import evaluated_variables

EXAMPLES = 4


def draw_predictions(setup: Setup, state: State, folder: Path) -> list[Path]:
  """Writes `eval_<i>.png` for the first examples; returns the files, none if the task draws nothing.

  Pictures show an example as the network sees it: cropped to the size of the input.
  """
  program = setup.program
  if type(program.task).draw is Task.draw:
    return []

  @jax.jit
  def forward(state: State, batch: dict[str, jax.Array]) -> dict[str, jax.Array]:
    variables = evaluated_variables(program, state)
    _, out = program.task.evaluate(program.model, variables, program.preprocess, batch)
    return program.task.predict(out)

  batch = next(iter(setup.data.eval.eval_batches()))
  examples = jax.device_get(program.eval_gather(setup.data.eval.constants, batch))
  predictions = jax.device_get(forward(state, examples))
  (top, left), (height, width) = program.preprocess.center, program.preprocess.image_size
  folder.mkdir(exist_ok=True)
  written = []
  for index in range(min(EXAMPLES, int(np.sum(examples["mask"])), num_examples(examples))):
    image = examples["image"][index, top : top + height, left : left + width]
    one = {name: value[index] for name, value in predictions.items()}
    picture = program.task.draw(image, one)
    if picture is not None:
      written.append(folder / f"eval_{index}.png")
      save_picture(picture, written[-1])
  return written


def save_picture(picture: np.ndarray, path: Path) -> None:
  """Writes uint8 [height, width, 1 or 3] as PNG."""
  Image.fromarray(picture[:, :, 0] if picture.shape[-1] == 1 else picture).save(path)
