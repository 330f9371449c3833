"""How well distances of embeddings tell classes apart: verification, and learning from few shots."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from cnnlab.errors import DataError
from cnnlab.plot_style import BLUE, STYLE, VERMILION, WIDTH, note, page
from cnnlab.tasks.analysis import Analysis, percent
from cnnlab.tasks.base import MetricValue
from cnnlab.tasks.code_maps import map_figure

MOST_EXAMPLES = 3000  # of which all pairs are formed; of more, as many evenly spaced ones
EPISODES_SEED = 1000  # of the list of episodes, the same for every network


class Roc(NamedTuple):
  """A verification by a threshold on distances, over pairs of examples.

  Attributes:
    false: share of the pairs of two classes that are accepted, by threshold, ascending.
    true: share of the pairs of one class that are accepted.
    thresholds: largest distance that is accepted.
    auc: area under the curve.
    equal_error: error rate at which as many pairs of one class are rejected as pairs of two classes
      are accepted, interpolated.
    distance: threshold there.
    pairs: number of pairs.
  """

  false: np.ndarray
  true: np.ndarray
  thresholds: np.ndarray
  auc: float
  equal_error: float
  distance: float
  pairs: int


def verify(embeddings: np.ndarray, labels: np.ndarray) -> Roc:
  """Returns the verification of all pairs of examples.

  Args:
    embeddings: [examples, numbers].
    labels: of each.

  Raises:
    DataError: no two examples have one class, or all have.
  """
  from sklearn.metrics import auc, roc_curve

  count = min(len(labels), MOST_EXAMPLES)
  chosen = np.arange(count) * len(labels) // count
  first, second = np.triu_indices(count, 1)
  same = labels[chosen][first] == labels[chosen][second]
  if same.all() or not same.any():
    raise DataError(
      f"the evaluation split has {len(np.unique(labels))} classes in {len(labels)} examples; to verify "
      "pairs, two examples of one class and two of different classes are needed"
    )
  apart = distances(embeddings[chosen], embeddings[chosen])[first, second]
  false, true, thresholds = roc_curve(same, -apart, drop_intermediate=True)
  # The first point accepts nothing; its threshold is infinite.
  thresholds = -thresholds
  thresholds[0] = thresholds[1]
  # Where the share of rejected pairs of one class, 1 - true, crosses that of accepted others.
  at = int(np.argmax(false >= 1 - true))
  before = max(at - 1, 0)
  gaps = [1 - true[i] - false[i] for i in (before, at)]
  share = gaps[0] / (gaps[0] - gaps[1]) if gaps[0] > gaps[1] else 0.0

  def there(values: np.ndarray) -> float:
    return float(values[before] + share * (values[at] - values[before]))

  return Roc(
    false, true, thresholds, float(auc(false, true)), there(false), there(thresholds), len(same)
  )


class Episodes(NamedTuple):
  """Tasks of telling classes apart that a few examples stand for.

  Attributes:
    support: examples of each class, int [episodes, ways, shots].
    queries: one of each class that is to be recognized, int [episodes, ways].
  """

  support: np.ndarray
  queries: np.ndarray


def draw_episodes(labels: np.ndarray, ways: int, shots: int, count: int) -> Episodes:
  """Returns a fixed list of episodes, which depends on the arguments alone.

  Args:
    labels: of the examples.
    ways: classes in an episode.
    shots: examples that stand for a class.
    count: of episodes.

  Raises:
    DataError: there are too few classes with more than `shots` examples.
  """
  members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
  members = [own for own in members if len(own) > shots]
  if len(members) < ways:
    raise DataError(
      f"config keys 'task.ways' and 'task.shots' are {ways} and {shots}; the evaluation split has "
      f"{len(members)} classes of more than {shots} examples: at most so many ways"
    )
  # The stream of this generator is the same in all versions of NumPy.
  random = np.random.RandomState(EPISODES_SEED)
  found = np.empty((count, ways, shots + 1), np.int64)
  for episode in found:
    for row, own in enumerate(random.permutation(len(members))[:ways]):
      episode[row] = members[own][random.permutation(len(members[own]))[: shots + 1]]
  return Episodes(found[..., :-1], found[..., -1])


def accuracy(embeddings: np.ndarray, episodes: Episodes) -> float:
  """Returns the share of queries that lie nearest to the mean of their class's examples.

  For one shot it is nearest neighbour, for more that of prototypical networks (arXiv:1703.05175,
  section 2.3).
  """
  right = 0
  for support, queries in zip(*episodes, strict=True):
    apart = distances(embeddings[queries], embeddings[support].mean(axis=1))
    right += int((apart.argmin(axis=1) == np.arange(len(queries))).sum())
  return right / episodes.queries.size


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
  """Returns Euclidean distances, float64 [first, second]."""
  from scipy.spatial.distance import cdist

  return cdist(first.astype(np.float64), second.astype(np.float64))


class Evaluation:
  """The metrics of embeddings over a split, and of its pixels for comparison.

  Args:
    ways, shots, count: of the episodes.
  """

  def __init__(self, ways: int, shots: int, count: int):
    self._episodes = ways, shots, count
    self._rows: list[Mapping[str, np.ndarray]] = []

  def add(self, rows: Mapping[str, np.ndarray]) -> None:
    """Keeps `embedding`, `label` and `pixels` of a batch."""
    self._rows.append(rows)

  def result(self) -> dict[str, MetricValue]:
    """Returns the metrics.

    Raises:
      DataError: the split has too few examples or classes.
    """
    names = ("embedding", "label", "pixels")
    embeddings, labels, pixels = (np.concatenate([r[name] for r in self._rows]) for name in names)
    episodes = draw_episodes(labels, *self._episodes)
    if not np.isfinite(embeddings).all():
      embeddings = np.zeros_like(embeddings)  # which tell nothing apart
    roc = verify(embeddings, labels)
    return {
      "accuracy": accuracy(embeddings, episodes),
      "eer": roc.equal_error,
      "auc": roc.auc,
      "threshold": roc.distance,
      "pixel_accuracy": accuracy(pixels, episodes),
      "pixel_eer": verify(pixels, labels).equal_error,
    }


def analyze(examples: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Analysis:
  """Returns the verification of evaluated examples, with a map of their embeddings.

  Args:
    examples: `embedding` and `label` of each.
    class_names: by label.
  """
  embeddings, labels = examples["embedding"], examples["label"]
  roc = verify(embeddings, labels)
  frame = pd.DataFrame({"label": labels}).rename_axis("example").reset_index()
  return Analysis(
    {
      "equal error rate": f"{percent(roc.equal_error)} %, at a distance of {roc.distance:.3f}",
      "area under the ROC curve": f"{roc.auc:.4f}",
      "pairs": f"{roc.pairs:,}",
    },
    {},
    {
      "roc": lambda: roc_figure(roc),
      "embeddings": lambda: map_figure(embeddings, labels, class_names),
    },
    frame,
  )


def roc_figure(roc: Roc) -> Figure:
  """Returns the ROC curve with the point of equal error, and both error rates by threshold."""
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, WIDTH * 0.48)
    left, right = figure.subplots(1, 2)
    least = 1 / roc.pairs
    left.plot(np.maximum(roc.false, least), roc.true, color=BLUE, lw=2)
    left.plot(roc.equal_error, 1 - roc.equal_error, "o", color=VERMILION, clip_on=False)
    left.annotate(
      f"equal error\n{100 * roc.equal_error:.1f} %", (roc.equal_error, 1 - roc.equal_error),
      textcoords="offset points", xytext=(8, -24), ha="left", fontsize=8,
    )  # fmt: skip
    left.set_xscale("log")
    left.set_xlim(1e-4, 1)
    left.set_ylim(0, 1.02)
    left.set_xlabel("accepted pairs of two classes")
    left.set_ylabel("accepted pairs of one class")
    left.set_title(f"ROC curve: area {roc.auc:.4f}")
    right.plot(roc.thresholds, 1 - roc.true, color=BLUE, lw=2, label="rejected pairs of one class")
    right.plot(
      roc.thresholds, roc.false, "--", color=VERMILION, lw=2, label="accepted pairs of two"
    )
    right.axvline(roc.distance, color="black", lw=0.8)
    right.set_xlabel("largest distance that is accepted")
    right.set_ylim(0, 1.02)
    right.set_title("Error rates by threshold")
    right.legend(fontsize=8)
    note(figure, f"{roc.pairs:,} pairs of examples. Dot and line: the equal error rate.")
  return figure
