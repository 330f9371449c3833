"""What the layers of a DenseNet take from each other (arXiv:1608.06993, section 5 and figure 5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from flax.typing import Collection
from matplotlib.figure import Figure

from cnnlab.errors import ConfigError
from cnnlab.plot_style import STYLE, note, page

COLUMNS = ("block", "source", "target", "weight")


def feature_reuse(params: Collection) -> pd.DataFrame:
  """Returns the mean absolute weight by which each layer of a DenseNet reads each one before it.

  Args:
    params: of a DenseNet.

  Returns:
    The columns `COLUMNS`. Blocks and layers count from 1; source 0 is what enters the block, and
    the last target of a block is the transition after it or, in the last block, the classifier.
    `weight` is that of the target's first convolution (or of the classifier), averaged over the
    maps of the source.

  Raises:
    ConfigError: these are not a DenseNet's parameters, or weight norm reparametrizes its kernels.
  """
  if "block1_layer1" not in params or "scale" in params["block1_layer1"]["conv1"]:
    raise ConfigError(
      "feature reuse is read off the kernels of a DenseNet; allowed: the parameters of one, with a "
      "norm other than 'weight' and 'weight_mean_only'"
    )
  rows: list[tuple[int, int, int, float]] = []
  for block in itertools.count(1):
    layers = list(_numbered(params, f"block{block}_layer"))
    if not layers:
      break
    kernels, convs = [layer["conv1"]["kernel"] for layer in layers], layers[0]
    growth = convs["conv2" if "conv2" in convs else "conv1"]["kernel"].shape[-1]
    entering = kernels[0].shape[-2]
    after = params.get(f"transition{block}_conv") or params.get("head")
    if after is not None:  # an encoder ends in its last block
      kernels.append(after["kernel"])
    for target, kernel in enumerate(kernels, 1):
      size = np.abs(np.asarray(kernel, np.float64))
      edges = [0, *range(entering, size.shape[-2] + 1, growth)]
      rows += [
        (block, source, target, float(size[..., low:high, :].mean()))
        for source, (low, high) in enumerate(itertools.pairwise(edges))
      ]
  return pd.DataFrame(rows, columns=list(COLUMNS))


def _numbered(params: Collection, prefix: str) -> Iterator[Collection]:
  """Yields the parameters of the modules prefix1, prefix2, ... as far as there are some."""
  for number in itertools.count(1):
    if f"{prefix}{number}" not in params:
      return
    yield params[f"{prefix}{number}"]


def feature_reuse_figure(table: pd.DataFrame) -> Figure:
  """Draws a heat map for each block: targets from left to right, sources from top to bottom.

  Args:
    table: of `feature_reuse`.
  """
  blocks = table["block"].unique()
  with matplotlib.rc_context({**STYLE, "axes.grid": False}):
    figure = page(3.0 * len(blocks) + 0.8, 3.6)
    panels = figure.subplots(1, len(blocks), squeeze=False)[0]
    for block, axes in zip(blocks, panels, strict=True):
      own = table[table["block"] == block].pivot_table("weight", "source", "target")
      image = axes.imshow(own / own.max(), cmap="viridis", vmin=0, vmax=1, interpolation="nearest")
      axes.set_title(f"Block {block}")
      axes.set_xlabel("target")
      places = range(0, own.shape[1], -(-own.shape[1] // 8))
      axes.set_xticks(places, [str(own.columns[i]) for i in places])
      places = range(0, own.shape[0], -(-own.shape[0] // 8))
      axes.set_yticks(places, [str(own.index[i]) for i in places])
    panels[0].set_ylabel("source")
    figure.colorbar(
      image, ax=panels, label="mean absolute weight,\nrelative to the target's largest"
    )
    note(
      figure,
      "Source 0: what enters the block. The last target of a block is the transition after it; of the last "
      "block, the classifier.",
    )
  return figure
