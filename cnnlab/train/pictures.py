"""Pictures of a trained network's predictions on the first examples of the evaluation split."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np
from PIL import Image

from cnnlab import panels
from cnnlab.tasks import Task
from cnnlab.tasks.base import num_examples
from cnnlab.train.setup import Setup
from cnnlab.train.state import State
from cnnlab.train.step import evaluated_variables

EXAMPLES = 4


def draw_predictions(setup: Setup, state: State, folder: Path) -> list[Path]:
  """Writes `eval_<i>.png` for the first examples; returns the files, none if the task draws nothing.

  Pictures show an example as an evaluation sees it, beside the truth if the task draws that too.
  Each of them is in `panels/eval_<i>` by itself, so that a report can show networks beside each other.
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
  examples = program.preprocess.seen(examples)
  folder.mkdir(exist_ok=True)
  written = []
  for index in range(min(EXAMPLES, int(np.sum(examples["mask"])), num_examples(examples))):
    example, one = ({n: a[index] for n, a in arrays.items()} for arrays in (examples, predictions))
    drawn = program.task.panels(example, one)
    if drawn:
      whole = panels.grid([drawn]) if len(drawn) > 1 else drawn[panels.PREDICTED]
      written.append(folder / f"eval_{index}.png")
      save_picture(whole, written[-1])
      panels.write(drawn, folder / panels.FOLDER / written[-1].stem)
  return written


def save_picture(picture: np.ndarray, path: Path) -> None:
  """Writes uint8 [height, width, 1 or 3] as PNG."""
  Image.fromarray(picture[:, :, 0] if picture.shape[-1] == 1 else picture).save(path)
