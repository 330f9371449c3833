"""Results on each test example: read from the runs, and kept with a report as evidence.

Only values of 0 and 1 are used, such as whether an image was classified wrongly: ten thousand
images times 25 runs then fit a small file, and everything that a report says about them can be
computed again from it.
"""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from cnnlab.runs.directory import PER_EXAMPLE, write_bytes

FILE = "examples.csv.gz"


def load(sweep: Path, runs: pd.DataFrame, metric: str) -> dict[str, pd.DataFrame]:
  """Returns {variant: a metric's 0 or 1 on each test example [seeds x examples]}.

  Columns are the examples' labels: variants whose columns are equal have the same test set. A
  variant is left out unless all its finished runs have kept them, for the same examples, and with
  the mean that the table of runs states.

  Args:
    sweep: its directory.
    runs: the table of `results.collect`.
    metric: the experiment's metric, such as `eval/error`.
  """
  split, _, leaf = metric.partition("/")
  if split != "eval":
    return {}
  found = {}
  for label, part in runs[runs["status"] == "done"].groupby("variant", sort=False):
    rows, order = {}, None
    for run in part.to_dict("records"):
      kept = _read(sweep / str(run["directory"]) / PER_EXAMPLE, leaf)
      if kept is None:
        break
      values, labels = kept
      order = labels if order is None else order
      # Half an example is the least by which two different results can differ.
      agrees = abs(float(values.mean()) - float(run["value"])) < 0.5 / len(values)
      if not agrees or not np.array_equal(labels, order):
        break
      rows[run["seed"]] = values
    else:
      found[str(label)] = pd.DataFrame.from_dict(rows, orient="index", columns=order)
  return found


def _read(path: Path, name: str) -> tuple[np.ndarray, np.ndarray] | None:
  """Returns the values and the examples' labels; None unless the values are 0 and 1."""
  try:
    with np.load(path, allow_pickle=False) as content:
      values = content[name]
      labels = content["label"] if "label" in content else np.zeros(len(values))
  except (OSError, KeyError, ValueError, zipfile.BadZipFile):
    return None
  if values.ndim != 1 or not len(values) or not np.isin(values, (0, 1)).all():
    return None
  return values.astype(np.uint8), labels


def examples_table(examples: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
  """Returns one row per test example and a column of 0 and 1 for each run.

  Args:
    examples: of `load`.

  Returns:
    Columns are named like `directory` in the table of runs, such as `base/seed0`; rows have the
    order of the test set. Several test sets have their rows below each other, and a run has
    values in those of its own.
  """
  sets: dict[tuple[object, ...], dict[str, np.ndarray]] = {}
  for label, table in examples.items():
    columns = sets.setdefault(tuple(table.columns), {})
    for seed, row in zip(table.index, table.to_numpy(), strict=True):
      columns[f"{label}/seed{seed}"] = row
  tables = [pd.DataFrame(columns, dtype="UInt8") for columns in sets.values()]
  return pd.concat(tables, ignore_index=True)


def write_examples(folder: Path, examples: Mapping[str, pd.DataFrame]) -> Path | None:
  """Writes `examples_table` to a folder, compressed, and returns the file; None if it is empty.

  The same table gives the same bytes. A file of an earlier report is removed.
  """
  path = folder / FILE
  if not examples:
    path.unlink(missing_ok=True)
    return None
  text = examples_table(examples).to_csv(index=False, lineterminator="\n")
  write_bytes(path, gzip.compress(text.encode(), compresslevel=9, mtime=0))
  return path
