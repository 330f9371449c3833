"""Times the training step of a sweep's nets, with dropped blocks masked and with them skipped.

A masked block is computed and multiplied by zero. A skipped block (`survival_skip`) is not
computed, because of a conditional in the compiled program. The figure and its numbers are written
to the sweep's figures, which its report shows.

python -m cnnlab.experiments.stochastic_depth.step_time runs/stochastic_depth
"""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.bench.step import BenchSpec, bench
from cnnlab.config import apply_overrides, load_page
from cnnlab.lab.experiment import Experiment, read_experiment
from cnnlab.lab.script import add_figure, run_script
from cnnlab.models import model_options
from cnnlab.nn import survival_probabilities
from cnnlab.plot_style import BLUE, STYLE, VERMILION, page, ticks_of_decades

COLUMNS = ("variant", "blocks", "computed", "step_ms", "low_ms", "high_ms", "device", "jax")


def step_times(experiment: Experiment, seconds: float = 3.0, repeats: int = 5) -> pd.DataFrame:
  """Returns the time of a training step of every variant, on synthetic images.

  Args:
    experiment: the experiment; it determines nets, image size and batch size.
    seconds: approximate duration of each repeat.
    repeats: number of repeats.

  Returns:
    The columns `COLUMNS`: `blocks` is 'masked' or 'skipped'; `computed` is the expected fraction of
    residual blocks that survive a step; `step_ms`, `low_ms` and `high_ms` are the median, lowest
    and highest mean time of a repeat.
  """
  rows = []
  for label in experiment.variants:
    config = apply_overrides(load_page(experiment.config), experiment.settings(label))
    options = config.model.to_dict()
    name, last = options.pop("name"), options.get("survival", 1.0)
    schedule = options.get("survival_schedule", "linear")
    blocks = options.get("blocks", model_options(name)["blocks"].default)
    chances = survival_probabilities(3 * blocks, last, schedule)
    for skip in (False, True) if last < 1 else (False,):
      spec = BenchSpec(
        model=name,
        options={**options, "survival_skip": skip},
        image_size=config.data.image_size,
        batch_size=config.batch_size,
        seconds=seconds,
        repeats=repeats,
      )
      found = bench(spec)
      what, share = "skipped" if skip else "masked", sum(chances) / len(chances)
      times = (found["step_ms"][key] for key in ("median", "min", "max"))
      rows.append((label, what, share, *times, found["devices"], found["jax"]))
      print(*rows[-1])
  return pd.DataFrame(rows, columns=list(COLUMNS))


def step_time_figure(table: pd.DataFrame) -> Figure:
  """Returns a plot of the step time by variant, masked and skipped, on a logarithmic axis."""
  labels = list(dict.fromkeys(table["variant"]))
  with matplotlib.rc_context(STYLE):
    figure = page(7.2, 1.6 + 0.42 * len(labels))
    axes = figure.subplots()
    for blocks, color, marker, shift in (
      ("masked", BLUE, "o", -0.13),
      ("skipped", VERMILION, "s", 0.13),
    ):
      own = table[table["blocks"] == blocks]
      places = [labels.index(label) + shift for label in own["variant"]]
      spread = [own["step_ms"] - own["low_ms"], own["high_ms"] - own["step_ms"]]
      label = f"dropped blocks {blocks}"
      axes.errorbar(own["step_ms"], places, xerr=spread, fmt=marker, color=color, ms=5, label=label)
    axes.set_xscale("log")
    ticks_of_decades(axes.xaxis)
    axes.set_xlabel("time of a training step (ms; median, lowest and highest repeat)")
    axes.set_yticks(range(len(labels)), labels)
    axes.invert_yaxis()
    axes.set_title(f"Time of a step on {table['device'].iloc[0]}")
    axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8)
  return figure


def main(directory: Path) -> None:
  """Writes figures/step_time.{svg,png,csv} to a sweep's directory."""
  table = step_times(read_experiment(directory))
  add_figure(directory, "step_time", step_time_figure(table), table)


if __name__ == "__main__":
  run_script(main, __doc__)
