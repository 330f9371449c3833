"""Where a localiser errs: by class, in the class or in the box, and by how much."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.plot_style import BLUE, STYLE, VERMILION, WIDTH, note, page
from cnnlab.tasks.analysis import Analysis, Pick, Table, percent

MOST_PICKS = 24
BINS = 20  # of the overlap


def analyze(
  examples: Mapping[str, np.ndarray], class_names: Sequence[str], right: float
) -> Analysis:
  """Returns the analysis of evaluated examples; those without an object are left out.

  Args:
    examples: of `Localisation.example_metrics`.
    class_names: by label.
    right: overlap over which a box is right.
  """
  frame = pd.DataFrame({name: values for name, values in examples.items() if values.ndim == 1})
  frame = frame.rename_axis("example").reset_index()
  frame = frame[frame["label"] >= 0]
  names = np.array([*class_names, "not finite"])  # a prediction that is not finite is -1
  frame.insert(1, "class", names[frame["label"]])
  frame.insert(2, "predicted_class", names[frame["prediction"]])
  class_right, box_right = frame["label"] == frame["prediction"], frame["iou"] > right
  wrong = frame[~(class_right & box_right)].sort_values("iou", kind="stable")[:MOST_PICKS]
  picks = [
    Pick(int(i), f"{own} taken for {taken}\n#{i}, IoU {overlap:.2f}")
    for i, own, taken, overlap in wrong[["example", "class", "predicted_class", "iou"]].to_numpy()
  ]
  return Analysis(
    {"mistakes": f"{int((~(class_right & box_right)).sum())} of {len(frame)}"},
    {
      "kinds": _kinds(class_right, box_right),
      "per_class": _per_class(frame, class_right, box_right),
    },
    {"iou": lambda: iou_figure(frame["iou"].to_numpy(), right)},
    frame,
    tuple(picks),
    about_picks="The mistakes with the least overlap: the true class, what the network takes it for, "
    "the example's number in the split, and the overlap of the boxes.",
  )


def _kinds(class_right: pd.Series, box_right: pd.Series) -> Table:
  kinds = {
    "class and box right": class_right & box_right,
    "class right, box wrong": class_right & ~box_right,
    "class wrong, box right": ~class_right & box_right,
    "both wrong": ~class_right & ~box_right,
  }
  counts = [int(one.sum()) for one in kinds.values()]
  frame = pd.DataFrame({"kind": list(kinds), "examples": counts})
  shares = [percent(count / max(1, len(class_right))) for count in counts]
  shown = frame.assign(examples=frame["examples"].astype(str), percent=shares)
  return Table(frame, shown, "Which of the two heads is right.")


def _per_class(frame: pd.DataFrame, class_right: pd.Series, box_right: pd.Series) -> Table:
  each = frame.assign(
    accuracy=class_right, mean_iou=frame["iou"], located=box_right, both=class_right & box_right
  )
  columns = ["accuracy", "mean_iou", "located", "both"]
  found = each.groupby("class")[columns].mean()
  found.insert(0, "examples", each.groupby("class").size())
  found = found.reset_index()
  shown = pd.DataFrame({name: found[name].astype(str) for name in ("class", "examples")})
  for name in columns:
    shown[name.replace("_", " ")] = found[name].map(percent)
  return Table(
    found, shown, "In percent: class right, mean IoU, IoU over 0.5, class and box right."
  )


def iou_figure(overlaps: np.ndarray, right: float) -> Figure:
  """Returns a histogram of the overlaps, float [n], and of the boxes that are right."""
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH * 0.7, 3.2)
    axes = figure.subplots()
    axes.hist(overlaps, bins=BINS, range=(0, 1), color=BLUE)
    axes.axvline(right, color=VERMILION, ls="--")
    axes.set_xlim(0, 1)
    axes.set_xlabel("IoU of the box with the true one")
    axes.set_ylabel("examples")
    share = percent(float((overlaps > right).mean())) if len(overlaps) else "–"
    note(figure, f"Dashed: a box is right over {right}, as {share} % of {len(overlaps):,} are.")
  return figure
