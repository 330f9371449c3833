"""Transforms of whole batches: examples are mixed in pairs, and their labels become soft."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from cnnlab.annotations import Between
from cnnlab.data.features import Features
from cnnlab.errors import DataError

if TYPE_CHECKING:
  import jax


# Further out, float32 has no more of the distribution than its limit.
Alpha: TypeAlias = Annotated[float, Between(0.001, 1000)]


@dataclasses.dataclass(frozen=True)
class Mix:
  """Mixes each example of a batch with another of the batch.

  Attributes:
    alpha: the share of an example is drawn from Beta(alpha, alpha), for each example.
  """

  alpha: Alpha = 1.0

  @property
  def name(self) -> str:
    """Its name in `MIXES` and in checkpoints."""
    return next(name for name, cls in MIXES.items() if cls is type(self))

  def to_json(self) -> dict[str, Any]:
    """Returns name and fields."""
    return {"name": self.name, **dataclasses.asdict(self)}

  def check(self, features: Features) -> None:
    """Raises DataError where the features of a data set cannot be mixed."""
    for name, feature in features.items():
      if feature.kind in ("boxes", "point") or (
        feature.kind == "label_map" and type(self) is Mixup
      ):
        raise DataError(f"data.mix: {self.name} cannot mix the feature {name!r} ({feature.kind})")
      if feature.kind == "label" and not feature.names:
        raise DataError(f"data.mix: the classes of the feature {name!r} are not known")

  def apply(self, batch: Mapping[str, Any], features: Features, key: jax.Array) -> dict[str, Any]:
    """Returns the mixed batch; each label becomes float32 [batch, classes], summing to 1.

    Args:
      batch: images as the network takes them, [batch, height, width, channels].
      features: of the data set.
      key: of the step.
    """
    import jax
    import jax.numpy as jnp

    image = next(name for name, feature in features.items() if feature.kind == "image")
    count = batch[image].shape[0]
    order_key, share_key, place_key = jax.random.split(key, 3)
    other = jax.random.permutation(order_key, count)
    share = jax.random.beta(share_key, self.alpha, self.alpha, (count,))
    own, share = self.masks(batch[image].shape[:3], share, place_key)
    out = dict(batch)
    for name, feature in features.items():
      value = batch[name]
      if feature.kind == "image":
        out[name] = own * value + (1 - own) * value[other]
      elif feature.kind == "label_map":
        out[name] = jnp.where(own[..., 0] > 0, value, value[other])
      elif feature.kind == "label":
        soft = value if value.ndim == 2 else jax.nn.one_hot(value, len(feature.names))
        out[name] = share[:, None] * soft + (1 - share[:, None]) * soft[other]
    return out

  def masks(
    self, shape: tuple[int, ...], share: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns how much of each pixel is the example's own [batch, h, w, 1], and its share [batch]."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Mixup(Mix):
  """Weighted means of images and labels (arXiv:1710.09412)."""

  alpha: Alpha = 0.2

  def masks(
    self, shape: tuple[int, ...], share: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns the share, the same for all pixels."""
    return share[:, None, None, None], share


@dataclasses.dataclass(frozen=True)
class Cutmix(Mix):
  """A rectangle of another image is pasted; labels are mixed by area (arXiv:1905.04899)."""

  def masks(
    self, shape: tuple[int, ...], share: jax.Array, key: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    """Returns 0 inside the rectangle and 1 outside of it; shares are those of the pixels."""
    import jax
    import jax.numpy as jnp

    count, height, width = shape
    size = jnp.array([height, width], jnp.float32)
    half = jnp.sqrt(1 - share)[:, None] * size / 2
    center = jax.random.uniform(key, (count, 2)) * size
    low, high = center - half, center + half
    rows, columns = jnp.arange(height) + 0.5, jnp.arange(width) + 0.5
    inside = ((rows > low[:, :1]) & (rows < high[:, :1]))[:, :, None]
    inside &= ((columns > low[:, 1:]) & (columns < high[:, 1:]))[:, None, :]
    own = 1.0 - inside[..., None].astype(jnp.float32)
    return own, own.mean((1, 2, 3))


MIXES: dict[str, type[Mix]] = {"mixup": Mixup, "cutmix": Cutmix}
