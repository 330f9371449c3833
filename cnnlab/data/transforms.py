"""Augmentations as small values, drawn once per example and applied inside the compiled step.

Four groups act one after the other: `ColorTransform` on the stored pixels (0..255), before
centering; `GeometricTransform`, composed into one map from output to source positions, so that an
image is resampled once and label maps and boxes move along; `PixelTransform` on the network's input;
`ExampleTransform` on whole examples.
To add one, write its dataclass and name it by `register_transform`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple, TypeAlias

from cnnlab.annotations import Between, Fraction, PositiveFraction, Whole
from cnnlab.calls import read_call
from cnnlab.data.features import Features
from cnnlab.data.images import Size
from cnnlab.data.mixing import MIXES, Mix
from cnnlab.errors import ConfigError, DataError, shown, unknown
from cnnlab.register import register
from cnnlab.settings import bind

# JAX is imported in the functions that compute with it: worker processes that only decode import
# this package as well, and must start fast and leave the accelerator alone.
if TYPE_CHECKING:
  import jax

PadMode: TypeAlias = Literal["constant", "reflect"]
Zoom: TypeAlias = Annotated[float, Between(0.01, 100)]


class AxisMap(NamedTuple):
  """Positions in a source as offset + step * position in the output, of (row, column).

  Attributes:
    offset: [2], int32 where the map is exact, else float32; pixel centers have whole numbers.
    step: [2] alike.
  """

  offset: jax.Array
  step: jax.Array

  def then(self, later: AxisMap) -> AxisMap:
    """Returns the map of this transform followed by a later one."""
    return AxisMap(self.offset + self.step * later.offset, self.step * later.step)


@dataclasses.dataclass(frozen=True)
class Transform:
  """One augmentation; its fields are its settings."""

  @property
  def name(self) -> str:
    """Its name in `TRANSFORMS` and in checkpoints."""
    return next(name for name, cls in TRANSFORMS.items() if cls is type(self))

  def to_json(self) -> dict[str, Any]:
    """Returns name and fields; `from_json` reads them back."""
    return {"name": self.name, **dataclasses.asdict(self)}

  def check(self, features: Features, size: Size) -> None:
    """Raises DataError where it does not fit a data set's features or the size of its images."""
    for name, feature in features.items():
      if feature.kind == "point" or feature.packed:
        raise DataError(
          f"data.transforms: {self.name} cannot change the feature {name!r} ({feature.kind} of "
          f"{feature.dtype}); allowed: dihedral"
        )


@dataclasses.dataclass(frozen=True)
class GeometricTransform(Transform):
  """Moves positions.

  Class attributes:
    exact: whether outputs lie on whole source pixels, so that nothing is interpolated.
    crops: whether the output has the size of the network's input.
  """

  exact: ClassVar[bool] = False
  crops: ClassVar[bool] = False

  def draw(self, key: jax.Array, size: Size, target: Size) -> AxisMap:
    """Returns the map of one example.

    Args:
      key: of the example and this transform.
      size: (height, width) that comes in.
      target: of the network's input.
    """
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class ColorTransform(Transform):
  """Changes the stored pixels of an image."""

  def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
    """Returns float32 [height, width, channels] in 0..255, as it comes in."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class PixelTransform(Transform):
  """Changes the network's input."""

  def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
    """Returns float32 [height, width, channels], as it comes in."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class ExampleTransform(Transform):
  """Changes all features of an example, after the other transforms."""

  def apply(self, example: dict[str, Any], features: Features, key: jax.Array) -> dict[str, Any]:
    """Returns the example, its image as the network takes it."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Dihedral(ExampleTransform):
  """One of the eight symmetries of a square; points and label maps move along."""

  def check(self, features: Features, size: Size) -> None:
    """Raises DataError for images that are not square, and for boxes."""
    if size[0] != size[1]:
      raise DataError(f"data.transforms: dihedral needs square images, not {size[0]}x{size[1]}")
    if any(feature.kind == "boxes" for feature in features.values()):
      raise DataError("data.transforms: dihedral cannot move boxes; allowed: flip")

  def apply(self, example: dict[str, Any], features: Features, key: jax.Array) -> dict[str, Any]:
    """Returns the example turned or mirrored."""
    import jax

    from cnnlab.nn import dihedral

    number = jax.random.randint(key, (), 0, dihedral.SYMMETRIES)
    side = next(len(example[n]) for n, feature in features.items() if feature.kind == "image")
    moved = dict(example)
    for name, feature in features.items():
      if feature.kind in ("image", "label_map"):
        moved[name] = dihedral.transform(example[name], number)
      elif feature.kind == "point":
        moved[name] = dihedral.transform_point(example[name], number, side)
    return moved


@dataclasses.dataclass(frozen=True)
class Crop(GeometricTransform):
  """A crop of the input's size at a random position of the padded image.

  Attributes:
    padding: pixels on each side.
    pad_mode: 'constant' (zero after centering) or 'reflect'.
  """

  padding: Whole = 0
  pad_mode: PadMode = "constant"

  exact: ClassVar[bool] = True
  crops: ClassVar[bool] = True

  def draw(self, key: jax.Array, size: Size, target: Size) -> AxisMap:
    """Returns a shift."""
    import jax.numpy as jnp

    room = [s + 2 * self.padding - t + 1 for s, t in zip(size, target, strict=True)]
    return AxisMap(_three_draws(key, [*room, 1])[:2] - self.padding, jnp.ones(2, jnp.int32))


@dataclasses.dataclass(frozen=True)
class Flip(GeometricTransform):
  """Mirrors half of the images left to right."""

  exact: ClassVar[bool] = True

  def draw(self, key: jax.Array, size: Size, target: Size) -> AxisMap:
    """Returns the identity or the mirror image."""
    import jax.numpy as jnp

    mirrored = _three_draws(key, [1, 1, 2])[2]
    return AxisMap(
      jnp.stack([0 * mirrored, mirrored * (size[1] - 1)]),
      jnp.stack([1 + 0 * mirrored, 1 - 2 * mirrored]),
    )


def _three_draws(key: jax.Array, limits: list[int]) -> jax.Array:
  """Returns integers [3] below the limits.

  An element follows from the key, its place and its own limit alone. Row and column of the crop and
  the flip are the three, as they were when one call drew them all; so the batches of a seed are too.
  """
  import jax
  import jax.numpy as jnp

  return jax.random.randint(key, (3,), 0, jnp.array(limits))


def _require_order(name: str, low: float, high: float) -> None:
  if low > high:
    raise DataError(f"data.transforms: {name}(low={low}, high={high}); allowed: low up to high")


@dataclasses.dataclass(frozen=True)
class Scale(GeometricTransform):
  """Zooms about the center by a random factor, the same for both axes.

  Attributes:
    low, high: range of the factor, uniform in its logarithm; over 1 enlarges.
  """

  low: Zoom = 0.8
  high: Zoom = 1.25

  def __post_init__(self) -> None:
    _require_order("scale", self.low, self.high)

  def draw(self, key: jax.Array, size: Size, target: Size) -> AxisMap:
    """Returns a zoom."""
    import jax
    import jax.numpy as jnp

    limits = jnp.log(jnp.array([self.low, self.high]))
    step = jnp.exp(-jax.random.uniform(key, (), minval=limits[0], maxval=limits[1]))
    center = (jnp.array(size, jnp.float32) - 1) / 2
    return AxisMap(center * (1 - step), jnp.stack([step, step]))


@dataclasses.dataclass(frozen=True)
class RandomResizedCrop(GeometricTransform):
  """A random part of the image, resized to the input's size (arXiv:1409.4842, section 6).

  A part that would not fit is cut down to the image's sides. Nothing is smoothed before an image is
  reduced: store images at about the input's size.

  Attributes:
    area: smallest share of the image's area; the largest is 1.
    ratio: largest ratio of the sides; the smallest is its inverse.
  """

  area: Annotated[float, Between(0.0001, 1)] = 0.08
  ratio: Annotated[float, Between(1, 100)] = 4 / 3

  crops: ClassVar[bool] = True

  def draw(self, key: jax.Array, size: Size, target: Size) -> AxisMap:
    """Returns position and size of the part."""
    import jax
    import jax.numpy as jnp

    area_key, ratio_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (), minval=self.area, maxval=1.0) * size[0] * size[1]
    limit = jnp.log(jnp.float32(self.ratio))
    ratio = jnp.exp(jax.random.uniform(ratio_key, (), minval=-limit, maxval=limit))
    whole = jnp.array(size, jnp.float32)
    part = jnp.minimum(jnp.stack([jnp.sqrt(area / ratio), jnp.sqrt(area * ratio)]), whole)
    start = jax.random.uniform(place_key, (2,)) * (whole - part)
    step = part / jnp.array(target, jnp.float32)
    return AxisMap(start + step / 2 - 0.5, step)


@dataclasses.dataclass(frozen=True)
class Color(ColorTransform):
  """Multiplies brightness, contrast and saturation by random factors, in this order.

  Attributes:
    brightness, contrast, saturation: x draws a factor from [1 - x, 1 + x]; 0 is off.
  """

  brightness: Fraction = 0.0
  contrast: Fraction = 0.0
  saturation: Fraction = 0.0

  def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the image with its pixels kept in 0..255."""
    import jax
    import jax.numpy as jnp

    spans = jnp.array([self.brightness, self.contrast, self.saturation])
    factors = 1 + spans * jax.random.uniform(key, (3,), minval=-1.0, maxval=1.0)
    image = jnp.clip(image * factors[0], 0, 255)
    grey = _luminance(image)
    image = jnp.clip(grey.mean() + factors[1] * (image - grey.mean()), 0, 255)
    grey = _luminance(image)
    return jnp.clip(grey + factors[2] * (image - grey), 0, 255)


def _luminance(image: jax.Array) -> jax.Array:
  """Returns ITU-R 601 luminance [height, width, 1]."""
  import jax.numpy as jnp

  if image.shape[-1] != 3:
    return image.mean(-1, keepdims=True)
  return (image @ jnp.array([0.299, 0.587, 0.114], image.dtype))[..., None]


@dataclasses.dataclass(frozen=True)
class Erase(PixelTransform):
  """Sets a random rectangle to zero, the mean after centering (arXiv:1708.04896).

  Attributes:
    probability: of erasing anything in an image.
    low, high: range of the rectangle's share of the area.
  """

  probability: Fraction = 0.5
  low: PositiveFraction = 0.02
  high: PositiveFraction = 0.33

  def __post_init__(self) -> None:
    _require_order("erase", self.low, self.high)

  def apply(self, image: jax.Array, key: jax.Array) -> jax.Array:
    """Returns the image with the rectangle."""
    import jax
    import jax.numpy as jnp

    keys = jax.random.split(key, 4)
    size = jnp.array(image.shape[:2], jnp.float32)
    area = jax.random.uniform(keys[0], (), minval=self.low, maxval=self.high)
    ratio = jnp.exp(jax.random.uniform(keys[1], (), minval=jnp.log(0.3), maxval=jnp.log(1 / 0.3)))
    part = jnp.minimum(jnp.sqrt(area * jnp.stack([ratio, 1 / ratio])), 1) * size
    start = jax.random.uniform(keys[2], (2,)) * (size - part)
    rows, columns = (jnp.arange(n) + 0.5 for n in image.shape[:2])
    inside = ((rows > start[0]) & (rows < start[0] + part[0]))[:, None]
    inside &= ((columns > start[1]) & (columns < start[1] + part[1]))[None, :]
    inside &= jax.random.uniform(keys[3], ()) < self.probability
    return jnp.where(inside[..., None], 0.0, image)


TRANSFORMS: dict[str, type[Transform]] = {
  "crop": Crop,
  "flip": Flip,
  "scale": Scale,
  "random_resized_crop": RandomResizedCrop,
  "color": Color,
  "erase": Erase,
  "dihedral": Dihedral,
}


def register_transform(
  name: str, transform: type[Transform | Mix], *, replace: bool = False
) -> None:
  """Makes a transform available in `data.transforms`, or one of whole batches in `data.mix`.

  Args:
    name: of the transform.
    transform: a frozen dataclass that derives from `ColorTransform`, `GeometricTransform`,
      `PixelTransform`, `ExampleTransform` or `Mix`; its fields, all with a type and a default, are its settings.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: it is no such class, or the name is taken.
  """
  kinds = (ColorTransform, GeometricTransform, PixelTransform, ExampleTransform, Mix)
  own = isinstance(transform, type) and dataclasses.is_dataclass(transform)
  if not own or not issubclass(transform, kinds) or transform in kinds:
    allowed = ", ".join(kind.__name__ for kind in kinds)
    raise ConfigError(
      f"transform {name!r} is {shown(transform)}; allowed: a frozen dataclass that derives from {allowed}"
    )
  table: dict[str, Any] = MIXES if issubclass(transform, Mix) else TRANSFORMS
  register(table, "transform", name, transform, replace=replace)


def parse(text: str, table: Mapping[str, type], key: str) -> Any:
  """Returns the value that a text such as "scale(low=0.8, high=1.2)" or "flip" spells.

  Args:
    text: a name of the table, with keyword arguments where it takes any.
    table: name -> dataclass.
    key: the config key, for messages.

  Raises:
    DataError: not of this form, or an unknown name or argument (the nearest are named).
    ConfigError: an argument of the wrong type.
  """
  try:
    name, fields = read_call(text)
  except ValueError as error:
    raise DataError(f"{key}: cannot read {shown(text)}; {error}") from error
  return from_json({"name": name, **fields}, table, key)


def from_json(saved: Mapping[str, Any], table: Mapping[str, type], key: str) -> Any:
  """Returns the value that `to_json` gave; raises as `parse` does."""
  name, fields = saved["name"], {k: value for k, value in saved.items() if k != "name"}
  if name not in table:
    raise DataError(f"{key}: " + unknown("transform", name, table))
  known = [field.name for field in dataclasses.fields(table[name])]
  for field in fields:
    if field not in known:
      raise DataError(f"{key}: " + unknown(f"argument of {name}", field, known))
  return bind(table[name], fields, f"{key}: {name}")
