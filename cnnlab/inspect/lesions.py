"""The error of a classifier without some of its blocks (arXiv:1605.06431, figures 3 and 5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.errors import ConfigError
from cnnlab.models.removal import outputs_without, random_removals, removable_blocks
from cnnlab.plot_style import BLUE, STYLE, VERMILION, note, page

if TYPE_CHECKING:
  from cnnlab.runs.trained import Trained

MOST_COUNTS = 12


def lesion_study(
  trained: Trained, images: np.ndarray, labels: np.ndarray, draws: int = 10
) -> pd.DataFrame:
  """Returns the error without each block, and without several blocks drawn at random.

  Args:
    trained: a classifier.
    images: uint8 [examples, height, width, channels], of the run's stored size.
    labels: int [examples].
    draws: random choices of the blocks for each number of them.

  Returns:
    Rows of `removed` (how many blocks), `blocks` (their names, separated by spaces) and `error`.
    The first is of the whole network, the next ones of single blocks in the order of the network,
    then `draws` for each of up to 12 numbers, to all.

  Raises:
    ConfigError: no block of the network keeps the shape of its input.
  """
  inputs = trained.inputs(images)
  names = np.array(removable_blocks(trained.model, inputs.shape[1:]))
  if not len(names):
    raise ConfigError(
      f"{type(trained.model).__name__} has no block whose output has the shape of its input; those "
      "of residual, highway and transformer networks have"
    )
  spread = np.linspace(1, len(names), min(len(names), MOST_COUNTS)).round().astype(int)
  several = [int(count) for count in spread if count > 1]
  removals = np.concatenate(
    [
      np.zeros((1, len(names)), bool),
      np.eye(len(names), dtype=bool),
      *random_removals(len(names), several, draws),
    ]
  )

  @jax.jit
  def predicted(part: jax.Array) -> jax.Array:
    outs = outputs_without(trained.model, trained.variables, part, list(names), removals)
    return jnp.argmax(outs, axis=-1)

  size = trained.batch_size
  parts = [predicted(inputs[first : first + size]) for first in range(0, len(inputs), size)]
  errors = (np.concatenate(parts, axis=1) != np.asarray(labels)).mean(axis=1)
  return pd.DataFrame(
    {
      "removed": removals.sum(axis=1),
      "blocks": [" ".join(names[flags]) for flags in removals],
      "error": errors,
    }
  )


def lesion_figure(table: pd.DataFrame) -> Figure:
  """Draws the error without each block, and over the number of removed blocks.

  Args:
    table: of `lesion_study`.
  """
  whole = float(table["error"].iloc[0])
  single = table[table["removed"] == 1]
  with matplotlib.rc_context(STYLE):
    figure = page(2.5 + max(5.0, 0.18 * len(single)) + 3.0, 3.4)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(3, 2))
    left.bar(range(len(single)), 100 * single["error"], color=BLUE)
    left.set_xticks(range(len(single)), single["blocks"].tolist(), rotation=90, fontsize=7)
    left.set_title("Without one block")
    left.set_ylabel("error (%)")
    right.plot(table["removed"], 100 * table["error"], ".", color=BLUE, ms=4, alpha=0.5)
    means = 100 * table.groupby("removed")["error"].mean()
    right.plot(means.index, means, color=BLUE)
    right.set_title("Without several")
    right.set_xlabel("removed blocks")
    for axes in (left, right):
      axes.axhline(100 * whole, color=VERMILION, lw=1, ls="--")
    note(
      figure,
      "Dashed: the whole network. Points: random choices of the blocks; line: their mean. Only blocks "
      "that keep the shape of their input can be removed.",
    )
  return figure
