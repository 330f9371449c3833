"""Style transfer: the content of one image in the style of another.

"A Neural Algorithm of Artistic Style" (arXiv:1508.06576). Content is a deep layer's map, style the
correlations of channels in several layers, their Gram matrices. The image is found by L-BFGS.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.optimize
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError
from cnnlab.inspect.dream import LEVELS, total_variation
from cnnlab.inspect.network import PixelNetwork

Losses = dict[str, Array]


@dataclasses.dataclass(frozen=True)
class Style:
  """What counts as content and style, and how much.

  Attributes:
    content_layers: whose maps are kept; the defaults are those of the paper, in VGG-19's names.
    style_layers: whose Gram matrices are kept.
    style_weight: of the style's loss beside the content's (the paper's beta / alpha).
    variation: weight of `cnnlab.inspect.dream.total_variation`, of pixels in levels of 0 to 255.
    steps: iterations of L-BFGS.
  """

  content_layers: tuple[str, ...] = ("conv4_2",)
  style_layers: tuple[str, ...] = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
  style_weight: float = 1e3
  variation: float = 0.0
  steps: int = 100

  def __post_init__(self) -> None:
    if self.style_weight < 0 or self.variation < 0 or self.steps < 1:
      raise ConfigError(
        f"style_weight {self.style_weight}, variation {self.variation} and steps {self.steps}; allowed: "
        "0 and more, 0 and more, 1 and more"
      )


class Styled(NamedTuple):
  """The result of a style transfer.

  Attributes:
    image: float32 [height, width, channels] in levels of 0 to 255.
    table: `step`, and the losses `total`, `content`, `style` and `variation` after it, weighted.
  """

  image: np.ndarray
  table: pd.DataFrame


def gram(found: Array) -> Array:
  """Returns the mean over positions of products of channels, [channels, channels].

  Args:
    found: a map, [height, width, channels].

  Source: arXiv:1508.06576, equation 3, divided by the positions, so that images of two sizes compare.
  """
  flat = found.reshape(-1, found.shape[-1])
  return flat.T @ flat / flat.shape[0]


def style_losses(
  network: PixelNetwork, content: ArrayLike, style: ArrayLike, settings: Style = Style()
) -> Callable[[PixelNetwork, Array], Losses]:
  """Returns a function of the network and an image [height, width, channels]: its weighted losses.

  Maps are rectified, so that the names of convolutions mean the ReLUs behind them. The content's loss
  is half the summed squared difference of maps (equation 1), a layer's of style the summed squared
  difference of Gram matrices over 4 N² for N channels (equation 4); layers of style have equal weights
  that sum to one.

  Args:
    network: see `PixelNetwork.of`.
    content: [height, width, channels] in levels of 0 to 255.
    style: the same, of any size.
    settings: see `Style`.

  Raises:
    ConfigError: there is no such layer.
  """
  wanted = network.compiled(lambda network, image: _maps(network, image, settings))
  kept = wanted(jnp.asarray(content, jnp.float32))[0]
  grams = [gram(found) for found in wanted(jnp.asarray(style, jnp.float32))[1]]

  def losses(network: PixelNetwork, image: Array) -> Losses:
    ours, styled = _maps(network, image, settings)
    alike = sum(jnp.square(a - b).sum() / 2 for a, b in zip(ours, kept, strict=True))
    distances = (
      jnp.square(gram(found) - given).sum() / (4 * found.shape[-1] ** 2)
      for found, given in zip(styled, grams, strict=True)
    )
    return {
      "content": jnp.asarray(alike, jnp.float32),
      "style": jnp.asarray(settings.style_weight * sum(distances) / max(1, len(grams))),
      "variation": settings.variation * total_variation(image),
    }

  return losses


def _maps(network: PixelNetwork, image: Array, settings: Style) -> tuple[list[Array], list[Array]]:
  """Returns the maps of content and of style, rectified, [height, width, channels] each."""
  names = (*settings.content_layers, *settings.style_layers)
  found = [jax.nn.relu(a[0].astype(jnp.float32)) for a in network.layers(image[None], names)]
  return found[: len(settings.content_layers)], found[len(settings.content_layers) :]


def style_transfer(
  network: PixelNetwork, content: ArrayLike, style: ArrayLike, settings: Style = Style()
) -> Styled:
  """Returns an image with the content of one and the style of another, starting from the content.

  Pixels stay within 0 to 255. Arguments and errors are those of `style_losses`.
  """
  start = np.asarray(content, np.float64)
  losses = style_losses(network, content, style, settings)

  def total(network: PixelNetwork, image: Array) -> tuple[Array, Losses]:
    each = losses(network, image)
    return jnp.stack(list(each.values())).sum(), each

  value_and_slope = network.compiled(jax.value_and_grad(total, argnums=1, has_aux=True))
  last: Losses = {}
  rows: list[dict[str, float]] = []

  def evaluate(flat: np.ndarray) -> tuple[float, np.ndarray]:
    nonlocal last
    (value, last), slope = value_and_slope(jnp.asarray(flat.reshape(start.shape), jnp.float32))
    return float(value), np.asarray(slope, np.float64).ravel()

  def note(_: np.ndarray) -> None:
    parts = {name: float(value) for name, value in last.items()}
    rows.append({"step": len(rows) + 1, "total": sum(parts.values()), **parts})

  found = scipy.optimize.minimize(
    evaluate,
    start.ravel(),
    jac=True,
    method="L-BFGS-B",
    bounds=scipy.optimize.Bounds(0, LEVELS),
    callback=note,
    options={"maxiter": settings.steps, "maxfun": 2 * settings.steps, "ftol": 0, "gtol": 0},
  )
  return Styled(found.x.reshape(start.shape).astype(np.float32), pd.DataFrame(rows))
