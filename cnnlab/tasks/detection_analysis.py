"""What a detector finds and misses, by size, and what is wrong with what it finds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.plot_style import STYLE, WIDTH, page
from cnnlab.tasks.analysis import Analysis, Table, percent
from cnnlab.tasks.detection_metrics import (
  OVERLAP,
  SIZES,
  Curve,
  ImageRows,
  Rows,
  average_precision,
  box_iou,
  images_of,
  precision_recall,
)

NEAR = 0.1  # IoU from which a wrong box is one in the wrong place (TIDE, arXiv:2008.08115)
KINDS = ("correct", "duplicate", "class", "place", "background")
MOST_CURVES = 10  # classes whose curves are drawn


def analyze(
  rows: Rows, names: Sequence[str], size_limits: tuple[float, float], shown_score: float
) -> Analysis:
  """Returns the analysis of evaluated examples.

  Args:
    rows: see `cnnlab.tasks.detection_metrics`.
    names: of the classes.
    size_limits: see `detection_metrics.Scores`.
    shown_score: boxes of lower scores are no errors.
  """
  curves = {name: precision_recall(rows, label) for label, name in enumerate(names)}
  sizes = _by_size(rows, size_limits, shown_score)
  known = sizes.iloc[-1]
  return Analysis(
    {
      f"objects found, with scores of {shown_score:g} or more": f"{known['found']} of {known['objects']}",
      "boxes that are wrong": f"{known[list(KINDS[1:])].sum()} of {known[list(KINDS)].sum()}",
    },
    {"sizes": _size_table(sizes, size_limits, shown_score), "curves": _curve_table(curves)},
    {"curves": partial(curve_figure, curves)},
    _by_example(rows, shown_score),
  )


def _by_size(rows: Rows, limits: tuple[float, float], shown_score: float) -> pd.DataFrame:
  """Returns objects, those that are found, and boxes by kind; a row for each size, and for all."""
  columns = ["objects", "found", *KINDS]
  counts = {size: dict.fromkeys(columns, 0) for size in SIZES}
  for image in images_of(rows):
    objects, boxes = judged(image, shown_score)
    for box, hit in objects:
      counts[_size(box, limits)]["objects"] += 1
      counts[_size(box, limits)]["found"] += hit
    for box, kind in boxes:
      counts[_size(box, limits)][kind] += 1
  frame = pd.DataFrame.from_dict(counts, orient="index")
  frame.loc["all"] = frame.sum()
  return frame.rename_axis("size").reset_index()


def judged(
  image: ImageRows, shown_score: float
) -> tuple[list[tuple[np.ndarray, bool]], list[tuple[np.ndarray, str]]]:
  """Returns each object with whether it was found, and each box of a high score with its kind.

  In order of score, a box is `correct` if it overlaps an object of its class that is not found yet by
  an IoU of 0.5; a `duplicate` if that object is found already; of the wrong `class` if it overlaps one of
  another; in the wrong `place` if an IoU with one of its class is 0.1 or more; else `background`. Boxes
  of crowds are left out.
  """
  objects = image.true_valid & ~image.true_crowd
  truth, labels = image.true_boxes[objects], image.true_labels[objects]
  crowds = image.true_boxes[image.true_valid & image.true_crowd]
  found, boxes = np.zeros(len(truth), bool), []
  for box, label, score in image.found():
    if score < shown_score:
      continue
    overlaps = box_iou(box, truth)
    own = np.where(labels == label, overlaps, 0.0)
    free = np.where(found, 0.0, own)
    if free.size and free.max() >= OVERLAP:
      found[free.argmax()] = True
      kind = "correct"
    elif own.size and own.max() >= OVERLAP:
      kind = "duplicate"
    elif overlaps.size and overlaps.max() >= OVERLAP:
      kind = "class"
    elif len(crowds) and box_iou(box, crowds).max() >= OVERLAP:
      continue
    else:
      kind = "place" if own.size and own.max() >= NEAR else "background"
    boxes.append((box, kind))
  return list(zip(truth, found.tolist(), strict=True)), boxes


def _size(box: np.ndarray, limits: tuple[float, float]) -> str:
  side = math.sqrt(max(0.0, float(box[2] - box[0])) * max(0.0, float(box[3] - box[1])))
  return SIZES[int(np.searchsorted(limits, side, side="left"))]


def _size_table(counts: pd.DataFrame, limits: tuple[float, float], shown_score: float) -> Table:
  boxes = counts[list(KINDS)].sum(axis=1)
  frame = counts.assign(
    recall=counts["found"] / counts["objects"].replace(0, np.nan),
    precision=counts["correct"] / boxes.replace(0, np.nan),
  )
  shown = frame.astype(str).assign(
    recall=frame["recall"].map(percent), precision=frame["precision"].map(percent)
  )
  return Table(
    frame,
    shown,
    f"Objects, and boxes with scores of {shown_score:g} or more, by their own size: small up to a side "
    f"of {limits[0]:g} pixels of the network's input, medium up to {limits[1]:g}. A wrong box is a "
    "duplicate, of the wrong class, in the wrong place, or on background. Recall and precision in "
    "percent.",
  )


def _curve_table(curves: dict[str, Curve]) -> Table:
  rows = [
    {
      "class": name,
      "objects": curve.objects,
      "boxes": len(curve.scores),
      "ap": average_precision(curve) if curve.objects else math.nan,
      "best_recall": float(curve.recall[-1]) if curve.objects and len(curve.recall) else math.nan,
    }
    for name, curve in curves.items()
  ]
  frame = pd.DataFrame(rows)
  shown = frame.astype(str).assign(
    ap=frame["ap"].map(percent), best_recall=frame["best_recall"].map(percent)
  )
  return Table(
    frame,
    shown,
    "Average precision by PASCAL VOC's rules at an IoU of 0.5, and the recall of all boxes, in percent.",
  )


def curve_figure(curves: dict[str, Curve]) -> Figure:
  """Returns precision against recall; of many classes those with the most objects."""
  kept = sorted(curves, key=lambda name: -curves[name].objects)[:MOST_CURVES]
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH * 0.75, WIDTH * 0.5)
    axes = figure.subplots()
    for name, curve in curves.items():
      if name in kept and curve.objects:
        label = f"{name} (AP {100 * average_precision(curve):.1f})"
        axes.step([0, *curve.recall], [1, *curve.precision], where="post", label=label)
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="recall", ylabel="precision at an IoU of 0.5")
    if axes.lines:
      figure.legend(loc="outside right upper")
  return figure


def _by_example(rows: Rows, shown_score: float) -> pd.DataFrame:
  found = []
  for number, image in enumerate(images_of(rows)):
    objects, boxes = judged(image, shown_score)
    kinds = [kind for _, kind in boxes]
    found.append(
      {
        "example": number,
        "objects": len(objects),
        "found": sum(hit for _, hit in objects),
        **{kind: kinds.count(kind) for kind in KINDS},
      }
    )
  return pd.DataFrame(found, columns=["example", "objects", "found", *KINDS])
