"""Draws the test error of each method of a finished sweep over the number of labels.

The sweep's classifiers see the last map of the encoder. Beside them are linear classifiers on the code
itself, the 64 numbers from which the autoencoder makes the image again: scikit-learn's logistic
regression, with the labels that each seed of the sweep drew. As in the sweep, its strength is chosen on a
tenth of the training images, with other labels. The autoencoders are those that the sweep started from,
in its folder. The figure is written to the sweep's figures, which its report shows.

python -m cnnlab.experiments.few_labels.curves runs/few_labels
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cnnlab.codes import CLASSIFIERS, Codes, Part, classify, extract
from cnnlab.data.sources import balanced_subset, holdout
from cnnlab.experiments.amount_curves import curves_figure, errors_of_sweep
from cnnlab.lab.script import add_figure, run_script
from cnnlab.lab.tuning import Tuning

BOTTLENECK = "bottleneck"
TITLES = {"mnist": "MNIST", "cifar10": "CIFAR-10"}


def bottleneck_errors(codes: Codes, amounts: Sequence[int], seeds: Sequence[int]) -> pd.DataFrame:
  """Returns the test errors of linear classifiers on codes: `amount`, `seed`, `error`.

  Args:
    codes: of all training and test images.
    amounts: numbers of labels.
    seeds: by which labels are drawn, as by `data.train_examples_by=seed`.
  """
  rest, part = holdout(codes.train.labels, Tuning.validation)
  tuned = _of(codes.train, rest), _of(codes.train, part)
  rows = []
  for amount in amounts:
    strengths = CLASSIFIERS["linear"].values
    tried = [_error(*tuned, amount, Tuning.seeds[0], strength) for strength in strengths]
    chosen = strengths[int(np.argmin(tried))]
    for seed in seeds:
      error = _error(codes.train, codes.eval, amount, seed, chosen)
      rows.append({"amount": amount, "seed": seed, "error": error})
  return pd.DataFrame(rows)


def _error(train: Part, evaluated: Part, amount: int, seed: int, strength: float) -> float:
  few = _of(train, balanced_subset(train.labels, amount, "labels", seed))
  return classify(Codes("code", (), few, evaluated, ()), "linear", [strength]).eval_error


def _of(part: Part, indices: np.ndarray) -> Part:
  return Part(part.codes[indices], part.labels[indices])


def main(directory: Path) -> None:
  """Writes figures/few_labels_curves.{svg,png,csv} to a sweep's directory."""
  errors = errors_of_sweep(directory)
  amounts, seeds = (sorted(errors[name].unique()) for name in ("amount", "seed"))
  tables = [errors]
  for data in TITLES:
    codes = extract(directory.parent / f"few_labels_{data}", "code")
    table = bottleneck_errors(codes, amounts, seeds)
    tables.append(table.assign(method=BOTTLENECK, data=data))
  found = pd.concat(tables, ignore_index=True)
  add_figure(directory, "few_labels_curves", curves_figure(found, TITLES, "labels"), found)


if __name__ == "__main__":
  run_script(main, __doc__)
