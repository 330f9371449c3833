"""Draws the test error of each method of a finished sweep over the number of target images.

The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.transfer.curves runs/transfer
"""

from __future__ import annotations

from pathlib import Path

from cnnlab.experiments.amount_curves import curves_figure, errors_of_sweep
from cnnlab.experiments.transfer.experiment import TARGETS
from cnnlab.lab.script import add_figure, run_script


def main(directory: Path) -> None:
  """Writes figures/transfer_curves.{svg,png,csv} to a sweep's directory."""
  errors = errors_of_sweep(directory)
  titles = {target: f"{target.capitalize()} target" for target in TARGETS}
  figure = curves_figure(errors, titles, "training images")
  add_figure(directory, "transfer_curves", figure, errors)


if __name__ == "__main__":
  run_script(main, __doc__)
