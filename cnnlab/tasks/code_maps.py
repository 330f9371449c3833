"""Codes of images in the plane: PCA and t-SNE (JMLR 9, 2008), with a color for each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cnnlab.plot_style import STYLE, WIDTH, note, page
from cnnlab.tasks.analysis import Analysis, Pick
from cnnlab.tasks.segmentation_pictures import palette

TSNE_EXAMPLES = 1000  # evenly spaced; t-SNE of more takes minutes
MOST_NAMED = 20  # classes up to which a legend names them; those of more share colors
MOST_PICKS = 24


def analyze(examples: Mapping[str, np.ndarray], class_names: Sequence[str]) -> Analysis:
  """Returns the analysis of reconstructed examples: a map of the codes, and the worst images.

  Args:
    examples: of `Autoencoding.example_metrics`: `mse`, and `label` and `code` where they are kept.
    class_names: by label.
  """
  error = "denoising_mse" if "denoising_mse" in examples else "mse"
  worst = np.argsort(-examples[error], kind="stable")[:MOST_PICKS]
  figures: dict[str, Callable[[], Figure]] = {}
  if "code" in examples:
    figures["codes"] = lambda: map_figure(examples["code"], examples.get("label"), class_names)
  columns = {name: values for name, values in examples.items() if values.ndim == 1}
  return Analysis(
    {},
    {},
    figures,
    pd.DataFrame(columns).rename_axis("example").reset_index(),
    tuple(Pick(int(i), f"#{i}\n{examples[error][i]:.3f}") for i in worst),
    "worst",
    "The images that are reconstructed worst: number in the split and mean squared error.",
  )


def project(codes: np.ndarray, method: str = "pca") -> np.ndarray:
  """Returns codes in the plane, float64 [codes, 2]; the same for the same codes.

  Args:
    codes: [codes, numbers].
    method: 'pca', or 'tsne' with a perplexity of 30 or of a third of the codes, if that is less.
  """
  from sklearn.decomposition import PCA
  from sklearn.manifold import TSNE
  from threadpoolctl import threadpool_limits

  codes = codes.astype(np.float64)
  if method == "tsne":
    perplexity = min(30, max(1, (len(codes) - 1) // 3))
    # Its threads wait for each other in busy loops: on cores that others use, ten times as long.
    with threadpool_limits(1):
      return TSNE(perplexity=perplexity, init="random", random_state=0).fit_transform(codes)
  if codes.shape[1] == 1:
    return np.pad(codes, ((0, 0), (0, 1)))
  return PCA(2, random_state=0).fit_transform(codes)


def map_figure(
  codes: np.ndarray, labels: np.ndarray | None = None, class_names: Sequence[str] = ()
) -> Figure:
  """Returns two maps of codes: both principal components, and t-SNE of up to 1,000 of them.

  A code of two numbers is shown as it is in place of its components.

  Args:
    codes: [codes, numbers], such as `Run.embed` returns.
    labels: of each, which colors it.
    class_names: by label.
  """
  some = np.arange(min(len(codes), TSNE_EXAMPLES)) * len(codes) // min(len(codes), TSNE_EXAMPLES)
  plain = codes.shape[1] == 2
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, WIDTH / 2)
    left, right = figure.subplots(1, 2)
    _scatter(left, codes if plain else project(codes), labels)
    left.set_title("The code's two numbers" if plain else "Principal components")
    _scatter(right, project(codes[some], "tsne"), None if labels is None else labels[some])
    right.set_title("t-SNE")
    right.set_xticks([])
    right.set_yticks([])
    if labels is not None and len(class_names) <= MOST_NAMED:
      colors = palette() / 255
      dots = [
        right.plot([], [], "o", color=colors[i], ms=5, label=name)[0]
        for i, name in enumerate(class_names)
      ]
      figure.legend(handles=dots, loc="outside right center", fontsize=8)
    note(
      figure, f"{len(codes):,} codes of {codes.shape[1]} numbers; t-SNE of {len(some):,} of them."
    )
  return figure


def _scatter(axes: Axes, points: np.ndarray, labels: np.ndarray | None) -> None:
  colors = "black" if labels is None else palette()[labels % MOST_NAMED] / 255
  axes.scatter(points[:, 0], points[:, 1], s=4, c=colors, linewidths=0, alpha=0.7, rasterized=True)
