"""What a classifier confuses, how far its confidence can be trusted, and its worst mistakes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.plot_style import BLUE, STYLE, VERMILION, WIDTH, note, page
from cnnlab.tasks.analysis import Analysis, Pick, Table, percent

Examples = Mapping[str, np.ndarray]
BINS = 15  # of confidence, equally wide: as in arXiv:1706.04599, section 2
MOST_PICKS = 24
MOST_ROWS = 40  # of a table that is shown; the CSV file has all
MOST_CELLS = 12  # classes up to which a confusion matrix is shown as text
MOST_NAMED = 40  # classes up to which the picture of a confusion matrix names them


def analyze(examples: Examples, class_names: Sequence[str]) -> Analysis:
  """Returns the analysis of classified examples.

  Args:
    examples: `label`, `prediction` and `confidence`, [n] each, of `Classification.example_metrics`.
    class_names: by label. A network may have more outputs than there are classes.
  """
  label, prediction = examples["label"], examples["prediction"]
  outputs = int(max(label.max(), prediction.max(), len(class_names) - 1)) + 1
  names = [*class_names, *(f"output {i}" for i in range(len(class_names), outputs))]
  matrix = confusion(label, prediction, names)
  bins = calibration(examples["confidence"], label == prediction)
  mistakes = np.flatnonzero(label != prediction)
  mistakes = mistakes[np.argsort(-examples["confidence"][mistakes], kind="stable")]
  error = expected_calibration_error(bins)
  tables = {
    "per_class": _per_class_table(label, prediction, names),
    "confusion": _confusion_table(matrix),
    "calibration": _calibration_table(bins, error),
  }
  figures: dict[str, Callable[[], Figure]] = {
    "confusion": lambda: confusion_figure(matrix),
    "calibration": lambda: calibration_figure(bins, error),
  }
  picks = [
    Pick(
      int(i),
      f"{_short(names[label[i]])}\ntaken for {_short(names[prediction[i]], 12)}\n"
      f"#{i}, {100 * examples['confidence'][i]:.1f} %",
    )
    for i in mistakes[:MOST_PICKS]
  ]
  return Analysis(
    {
      "mistakes": f"{len(mistakes)} of {len(label)}",
      f"expected calibration error ({BINS} bins of equal width)": f"{100 * error:.2f} %",
    },
    tables,
    figures,
    _by_example(examples, names),
    tuple(picks),
    about_picks="The most confident mistakes: the true class, what the network takes it for, the "
    "example's number in the split, and the network's confidence.",
  )


def _by_example(examples: Examples, names: Sequence[str]) -> pd.DataFrame:
  every = np.asarray(names)
  frame = pd.DataFrame({name: values for name, values in examples.items() if values.ndim == 1})
  frame.insert(0, "class", every[examples["label"]])
  frame.insert(1, "predicted_class", every[examples["prediction"]])
  return frame.rename_axis("example").reset_index()


def per_class(label: np.ndarray, prediction: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
  """Returns `class`, `examples`, `errors`, `recall`, `precision` and `f1` of every class.

  A value that is not defined, such as the recall of a class without examples, is NaN.
  """
  from sklearn.metrics import precision_recall_fscore_support

  precision, recall, f1, support = precision_recall_fscore_support(
    label, prediction, labels=np.arange(len(names)), zero_division=np.nan
  )
  hits = np.bincount(label[label == prediction], minlength=len(names))
  return pd.DataFrame(
    {
      "class": list(names),
      "examples": support,
      "errors": support - hits,
      "recall": recall,
      "precision": precision,
      "f1": f1,
    }
  )


def _per_class_table(label: np.ndarray, prediction: np.ndarray, names: Sequence[str]) -> Table:
  frame = per_class(label, prediction, names)
  rows = frame
  about = "Recall is the accuracy on the examples of a class; all three in percent."
  if len(frame) > MOST_ROWS:
    rows = frame.sort_values("recall", kind="stable")[:MOST_ROWS]
    about += f" The {MOST_ROWS} of {len(frame)} classes with the lowest recall."
  shown = pd.DataFrame({name: rows[name].astype(str) for name in ("class", "examples", "errors")})
  for name in ("recall", "precision", "f1"):
    shown[name] = rows[name].map(percent)
  return Table(frame, shown, about)


def confusion(label: np.ndarray, prediction: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
  """Returns the numbers of examples by true class (rows) and predicted class (columns)."""
  from sklearn.metrics import confusion_matrix

  counts = confusion_matrix(label, prediction, labels=np.arange(len(names)))
  return pd.DataFrame(counts, index=pd.Index(list(names), name="class"), columns=list(names))


def confused_pairs(matrix: pd.DataFrame) -> pd.DataFrame:
  """Returns `class`, `predicted`, `examples` and `share` of the class of each confusion, by number."""
  counts = matrix.to_numpy()
  rows, columns = np.nonzero(counts * ~np.eye(len(counts), dtype=bool))
  order = np.argsort(-counts[rows, columns], kind="stable")
  rows, columns = rows[order], columns[order]
  names = np.asarray(matrix.columns)
  found = counts[rows, columns]
  share = found / counts.sum(axis=1)[rows]
  return pd.DataFrame(
    {"class": names[rows], "predicted": names[columns], "examples": found, "share": share}
  )


def _confusion_table(matrix: pd.DataFrame) -> Table:
  if len(matrix) <= MOST_CELLS:
    shown = matrix.astype(str).replace("0", "·").reset_index()
    about = "Numbers of examples: a row for the true class, a column for the predicted one."
    return Table(matrix.reset_index(), shown, about, in_figure=True)
  pairs = confused_pairs(matrix)
  rows = pairs[:MOST_ROWS]
  shown = rows.assign(examples=rows["examples"].astype(str), share=rows["share"].map(percent))
  about = (
    f"The {len(rows)} most frequent of {len(pairs)} confusions, and their share of the class in "
    "percent."
  )
  return Table(matrix.reset_index(), shown, about, words=("predicted",))


def calibration(confidence: np.ndarray, correct: np.ndarray) -> pd.DataFrame:
  """Returns `low`, `high`, `examples`, `confidence` and `accuracy` of each bin of confidence.

  The bins are (0, 1/15], (1/15, 2/15], ... (arXiv:1706.04599, section 2); the means of an empty one
  are NaN.
  """
  edges = np.linspace(0, 1, BINS + 1)
  where = np.clip(np.digitize(confidence, edges, right=True) - 1, 0, BINS - 1)
  count = np.bincount(where, minlength=BINS)
  with np.errstate(invalid="ignore"):
    means = [
      np.bincount(where, values.astype(float), BINS) / count for values in (confidence, correct)
    ]
  return pd.DataFrame(
    {
      "low": edges[:-1],
      "high": edges[1:],
      "examples": count,
      "confidence": means[0],
      "accuracy": means[1],
    }
  )


def expected_calibration_error(bins: pd.DataFrame) -> float:
  """Returns the gap of accuracy and confidence, averaged over examples (arXiv:1706.04599, eq. 3)."""
  gaps = (bins["accuracy"] - bins["confidence"]).abs() * bins["examples"]
  return float(gaps.sum() / bins["examples"].sum())


def _calibration_table(bins: pd.DataFrame, error: float) -> Table:
  rows = bins[bins["examples"] > 0]
  shown = pd.DataFrame(
    {
      "confidence": [
        f"{100 * low:.1f} to {100 * high:.1f}"
        for low, high in zip(rows["low"], rows["high"], strict=True)
      ],
      "examples": rows["examples"].astype(str),
      "mean confidence": rows["confidence"].map(percent),
      "accuracy": rows["accuracy"].map(percent),
    }
  )
  about = (
    f"In percent. The expected calibration error, {100 * error:.2f} %, is the gap between the last "
    f"two columns, averaged over examples; {BINS} bins of equal width, without the empty ones."
  )
  return Table(bins, shown, about)


def calibration_figure(bins: pd.DataFrame, error: float) -> Figure:
  """Returns a reliability diagram, with the number of examples in each bin below it."""
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH * 0.62, 5.0)
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    width, middle = 1 / len(bins), (bins["low"] + bins["high"]) / 2
    known = bins["examples"] > 0
    top.bar(middle[known], bins["accuracy"][known], width * 0.92, color=BLUE)
    top.plot([0, 1], [0, 1], "--", color="black", lw=1.2)
    shown = bins["confidence"][known], bins["accuracy"][known]
    top.plot(*shown, "o", color=VERMILION, ms=4, clip_on=False)
    top.set_ylabel("accuracy")
    top.set_ylim(0, 1.02)
    top.set_title(f"Reliability: expected calibration error {100 * error:.2f} %")
    bars = bottom.bar(middle, bins["examples"], width * 0.92, color="#6b6b6b")
    bottom.bar_label(bars, [str(n) if n else "" for n in bins["examples"]], fontsize=7, padding=1)
    bottom.set_yscale("symlog", linthresh=1)
    bottom.set_ylim(0, 6 * bins["examples"].max())
    bottom.set_ylabel("examples")
    bottom.set_xlabel("confidence")
    bottom.set_xlim(0, 1)
    note(
      figure,
      f"Bar: accuracy of the examples in a bin; dot: the same at their mean confidence. Dashed: "
      f"perfect calibration. {len(bins)} bins of equal width, {bins['examples'].sum():,} examples.",
    )
  return figure


def confusion_figure(matrix: pd.DataFrame) -> Figure:
  """Returns a picture of a confusion matrix: the share of each true class, and the numbers."""
  counts, size = matrix.to_numpy(), len(matrix)
  with np.errstate(invalid="ignore", divide="ignore"):
    shares = 100 * counts / counts.sum(axis=1, keepdims=True)
  side = float(np.clip(0.36 * size + 2, 3.6, WIDTH))
  with matplotlib.rc_context(STYLE):
    figure = page(min(side + 0.6, WIDTH), side)
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.grid(visible=False)
    figure.colorbar(image, ax=axes, label="% of the true class", shrink=0.8)
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if size <= MOST_NAMED:
      font = 8 if size <= 20 else 6
      names = [_short(str(name)) for name in matrix.columns]
      turn = 0 if max(map(len, names)) <= 3 else 90
      axes.set_xticks(range(size), names, rotation=turn, fontsize=font)
      axes.set_yticks(range(size), names, fontsize=font)
      for row, column in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[row, column] > 55 else "black"
        axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color,
                  fontsize=font - 1)  # fmt: skip
  return figure


def _short(name: str, most: int = 16) -> str:
  return name if len(name) <= most else f"{name[: most - 1]}…"
