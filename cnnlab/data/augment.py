"""From stored uint8 images to the network's input, inside the compiled step.

Order of operations: color, center and scale, geometry, erasing, mixing. Constant padding is zero
after centering, as in the CIFAR protocol of He et al. (arXiv:1512.03385, section 4.2): with a mean
image the crop moves the centered image, not the mean.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnlab.data.features import IGNORED_LABEL, Feature, Features, View
from cnnlab.data.images import Size, load_image, source_box
from cnnlab.data.mixing import MIXES, Mix
from cnnlab.data.moving import cut_boxes, move_boxes
from cnnlab.data.sampling import Sampler
from cnnlab.data.transforms import (
  TRANSFORMS,
  AxisMap,
  ColorTransform,
  Crop,
  ExampleTransform,
  Flip,
  GeometricTransform,
  PixelTransform,
  Transform,
  from_json,
)
from cnnlab.data.views import EvalViews
from cnnlab.errors import DataError

if TYPE_CHECKING:
  import jax

USUAL = {
  "image": Feature("image", (None, None, None), "uint8"),
  "label": Feature("label", (), "int32"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Preprocess:
  """What is done to an example between the data set and the network, in training and evaluation.

  It holds everything that a prediction on a new image file needs, without the data set:
  `settings()` is JSON-able, `arrays()` are NumPy arrays, `from_parts` puts them together again.

  Attributes:
    mean: subtracted, in units of 0..255: float32 [channels] or [height, width, channels].
    scale: divided by afterwards, float32 [channels].
    stored_size: (height, width) of the images that come in.
    image_size: (height, width) of the network's input, cropped from the stored image: at random
      in training, from the center in evaluation.
    transforms: augmentations, in order; a random crop comes first if none is listed and the stored
      images are larger than the input.
    mix: of whole training batches, in order.
    eval_crops: what an evaluation sees of an image: its 'center'; 'ten' crops, the corners, the
      center and their mirror images (AlexNet, NIPS 2012, section 4.1); 'grid5' 5x5 evenly spaced
      crops and their mirror images (VGG, arXiv:1409.1556, section 4.3), other numbers alike; or
      'dense' the whole stored image, over which the network slides, and its mirror image (VGG,
      section 3.2); or 'whole', the same without the mirror image. Probabilities are averaged.
    eval_scales: sizes, as factors, at which an evaluation sees the stored image.
    features: kinds of the arrays in a batch.
    min_visibility: share of a box's area that must be left of it in training; with less, the box is
      dropped: it becomes invalid. What is left is clipped to the image.
  """

  mean: np.ndarray
  scale: np.ndarray
  stored_size: Size
  image_size: Size
  transforms: tuple[Transform, ...] = ()
  mix: tuple[Mix, ...] = ()
  eval_crops: str = "center"
  eval_scales: tuple[float, ...] = (1.0,)
  features: Features = dataclasses.field(default_factory=lambda: USUAL)
  min_visibility: float = 0.0

  def __post_init__(self) -> None:
    (height, width), (out_height, out_width) = self.stored_size, self.image_size
    if out_height > height or out_width > width:
      raise DataError(
        f"a crop of {out_height}x{out_width} does not fit into images of {height}x{width}: "
        f"data.image_size may be at most data.resize"
      )
    for crop in self._geometry():
      if isinstance(crop, Crop):
        self._require_room(crop)
        if crop.pad_mode == "reflect" and self._boxes:
          raise DataError(
            "data.pad_mode or data.transforms: pad_mode 'reflect' would show mirror images of objects "
            "without boxes; allowed with boxes: 'constant'"
          )
    groups = [type(one).__mro__[1] for one in self.transforms]
    order: list[type] = [ColorTransform, GeometricTransform, PixelTransform, ExampleTransform]
    places = [order.index(group) for group in groups]
    if places != sorted(places):
      raise DataError(
        f"data.transforms: {', '.join(one.name for one in self.transforms)} is not in the order of "
        "application: color first, then geometry, then erasing, then dihedral"
      )
    for one in self.transforms:
      one.check(self.features, self.image_size)
    for mix in self.mix:
      mix.check(self.features)
    _ = self.views  # is checked

  @property
  def views(self) -> EvalViews:
    """Which parts of a stored image an evaluation sees."""
    return EvalViews(self.eval_crops, self.eval_scales, self.stored_size, self.image_size)

  def _require_room(self, crop: Crop) -> None:
    """Raises DataError where a crop could hold nothing of the image, or reflect more than all."""
    (height, width), (out_height, out_width) = self.stored_size, self.image_size
    room = (height, width) if crop.pad_mode == "reflect" else (out_height, out_width)
    if crop.padding >= min(room):
      raise DataError(
        f"data.crop_padding or data.transforms: crop(padding={crop.padding}) must be smaller than "
        f"the image ({room[0]}x{room[1]}) with pad_mode {crop.pad_mode!r}; at most {min(room) - 1}"
      )

  @property
  def channels(self) -> int:
    """Channels of the images that come in and go out."""
    return len(self.scale)

  @property
  def packed(self) -> bool:
    """Whether stored images are bits, see `Feature.dtype`."""
    return any(feature.packed for feature in self.features.values())

  @property
  def stored_channels(self) -> int:
    """Channels of stored images, of bytes where those are bits."""
    return -(-self.channels // 8) if self.packed else self.channels

  @property
  def center(self) -> tuple[int, int]:
    """Top and left of the crop that an evaluation sees of a stored image."""
    height, width = self.stored_size
    return (height - self.image_size[0]) // 2, (width - self.image_size[1]) // 2

  def settings(self) -> dict[str, Any]:
    """Returns all but the arrays, JSON-able."""
    return {
      "stored_size": list(self.stored_size),
      "image_size": list(self.image_size),
      "transforms": [one.to_json() for one in self.transforms],
      "mix": [one.to_json() for one in self.mix],
      "eval_crops": self.eval_crops,
      "eval_scales": list(self.eval_scales),
      "min_visibility": self.min_visibility,
      "features": {name: dataclasses.asdict(one) for name, one in self.features.items()},
    }

  def arrays(self) -> dict[str, np.ndarray]:
    """Returns {'mean', 'scale'}, both float32."""
    return {"mean": self.mean, "scale": self.scale}

  @classmethod
  def from_parts(cls, settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Preprocess:
    """Rebuilds a Preprocess from what `settings()` and `arrays()` returned, earlier forms included."""
    listed = [from_json(one, TRANSFORMS, "transforms") for one in settings.get("transforms", ())]
    padding = int(settings.get("crop_padding", 0))  # written when crop and flip were the only ones
    mode = settings.get("pad_mode", "constant")
    early = crop_and_flip(padding, mode, bool(settings.get("flip")))
    features = {
      name: Feature(f["kind"], tuple(f["shape"]), f["dtype"], tuple(f["names"]))
      for name, f in settings.get("features", {}).items()
    }
    return cls(
      mean=np.asarray(arrays["mean"], np.float32),
      scale=np.asarray(arrays["scale"], np.float32),
      stored_size=_pair(settings["stored_size"]),
      image_size=_pair(settings["image_size"]),
      transforms=(*early, *listed),
      mix=tuple(from_json(one, MIXES, "mix") for one in settings.get("mix", ())),
      eval_crops=str(settings.get("eval_crops", "center")),
      eval_scales=tuple(map(float, settings.get("eval_scales", (1.0,)))),
      features=features or USUAL,
      min_visibility=float(settings.get("min_visibility", 0.0)),
    )

  def load_image(self, path: str) -> np.ndarray:
    """Reads an image file as uint8 [height, width, channels] of the stored size, for `eval`.

    Raises:
      DataError: the file is missing, truncated or no image.
    """
    return load_image(path, self.stored_size, self.channels)

  def view(self, original: Size) -> View:
    """Returns which part of an image of that (height, width) an evaluation sees: the way back."""
    top, left, bottom, right = source_box(original, self.stored_size)
    scale = (bottom - top) / self.stored_size[0], (right - left) / self.stored_size[1]
    rows, columns = self.views.part
    box = (
      top + rows.start * scale[0],
      left + columns.start * scale[1],
      top + rows.stop * scale[0],
      left + columns.stop * scale[1],
    )
    return View(original, box)

  def crop(self, images: Any) -> Any:
    """Returns the part of stored images [..., height, width, channels] that an evaluation sees."""
    rows, columns = self.views.part
    return images[..., rows, columns, :]

  def seen(self, examples: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns stored examples with their images, label maps and boxes cut to what an evaluation sees."""
    rows, columns = self.views.part
    maps = {n for n, f in self._present(examples).items() if f.kind in ("image", "label_map")}
    cut = {n: array[:, rows, columns] if n in maps else array for n, array in examples.items()}
    for name in self._boxes & examples.keys():
      cut |= cut_boxes(name, examples, rows, columns)
    return cut

  def normalize(self, images: Any) -> jax.Array:
    """Returns (images - mean) / scale as float32; takes [..., height, width, channels] as stored."""
    import jax.numpy as jnp

    if self.packed:
      bits = jnp.asarray(images)[..., None] >> jnp.arange(8, dtype=jnp.uint8) & 1
      images = bits.reshape(*images.shape[:-1], -1)[..., : self.channels]
    return (jnp.asarray(images).astype(jnp.float32) - self.mean) / self.scale

  def eval(self, batch: Any) -> Any:
    """Normalizes and crops the center.

    Args:
      batch: uint8 images [b, height, width, channels], or a dict of features; label maps and boxes
        are cropped alike.

    Returns:
      float32 images [b, *image_size, channels], or the dict with them.
    """
    top, left = self.center
    bottom, right = top + self.image_size[0], left + self.image_size[1]
    if not isinstance(batch, Mapping):
      return self.normalize(batch)[:, top:bottom, left:right]
    import jax.numpy as jnp

    out = dict(batch)
    for name, feature in self._present(batch).items():
      if feature.kind == "image":
        out[name] = self.normalize(batch[name])[:, top:bottom, left:right]
      elif feature.kind == "label_map":
        out[name] = batch[name][:, top:bottom, left:right]
      elif feature.kind == "boxes":
        shift = AxisMap(jnp.array([[top, left]]), jnp.ones((1, 2)))
        out |= move_boxes(name, batch, shift, self.image_size)
    return out

  @property
  def _boxes(self) -> set[str]:
    return {name for name, feature in self.features.items() if feature.kind == "boxes"}

  def _present(self, batch: Mapping[str, Any]) -> Features:
    return {name: feature for name, feature in self.features.items() if name in batch}

  def eval_views(self, images: Any) -> jax.Array:
    """Normalizes, and returns all that `eval_crops` asks for.

    Args:
      images: uint8 [b, height, width, channels].

    Returns:
      float32 [views, b, *image_size, channels], of the stored size for 'whole' and 'dense'; the
      second half of the views are the mirror images of the first, but for 'center' and 'whole'.
    """
    import jax.numpy as jnp

    whole = self.normalize(images)
    corners, (height, width) = self.views.windows(self.stored_size)
    views = jnp.stack([whole[:, t : t + height, x : x + width] for t, x in corners])
    return jnp.concatenate([views, views[:, :, :, ::-1]]) if self.views.mirrored else views

  def train(self, batch: Any, key: jax.Array, *, offset: int | jax.Array = 0) -> Any:
    """Augments and normalizes, with draws of its own for each example.

    Args:
      batch: as in `eval`.
      key: the step's key; example i uses `fold_in(key, offset + i)`, so that the result does not
        depend on how the batch is spread over devices. Mixing pairs the examples that are given.
      offset: position in the global batch of the first example given; 0 under `jit`, where the
        batch is the global one.

    Returns:
      As `eval`; labels that were mixed are float32 [batch, classes].
    """
    if not isinstance(batch, Mapping):
      return self.train({"image": batch}, key, offset=offset)["image"]
    import jax
    import jax.numpy as jnp

    kinds = self._present(batch)
    image = next(name for name, feature in kinds.items() if feature.kind == "image")
    examples = offset + jnp.arange(len(batch[image]))
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, examples)
    out = {**batch, image: self.normalize(self._each(ColorTransform, batch[image], keys))}
    if geometry := self._geometry():
      out = self._move(out, geometry, keys)
    out[image] = self._each(PixelTransform, out[image], keys)
    for place, one in enumerate(self.transforms):
      if isinstance(one, ExampleTransform):
        own = jax.vmap(lambda k, t=one, p=place: _own_key(k, t.name, p))(keys)
        features = {name: out[name] for name in kinds}
        out |= jax.vmap(lambda e, k, t=one: t.apply(e, kinds, k))(features, own)
    for place, mix in enumerate(self.mix):
      out = mix.apply(out, kinds, _own_key(jax.random.fold_in(key, offset), mix.name, place))
    return out

  def _each(self, group: type, images: jax.Array, keys: jax.Array) -> jax.Array:
    """Returns images [b, h, w, c] after the color or the pixel transforms."""
    import jax
    import jax.numpy as jnp

    for place, transform in enumerate(self.transforms):
      if isinstance(transform, group):
        own = jax.vmap(lambda k, t=transform, p=place: _own_key(k, t.name, p))(keys)
        images = jax.vmap(transform.apply)(jnp.asarray(images, jnp.float32), own)  # type: ignore[attr-defined]
    return images

  def _geometry(self) -> list[GeometricTransform]:
    """Returns the geometric transforms, with the crop that goes without saying."""
    listed = [one for one in self.transforms if isinstance(one, GeometricTransform)]
    if tuple(self.stored_size) != tuple(self.image_size) and not any(one.crops for one in listed):
      return [Crop(), *listed]
    return listed

  def _move(
    self, batch: Mapping[str, Any], geometry: list[GeometricTransform], keys: jax.Array
  ) -> dict[str, Any]:
    """Returns the batch with all features moved by one map per example."""
    import jax
    import jax.numpy as jnp

    exact = all(one.exact for one in geometry)
    number = jnp.int32 if exact else jnp.float32

    def draw(key: jax.Array) -> AxisMap:
      found, size, seen = (
        AxisMap(jnp.zeros(2, number), jnp.ones(2, number)),
        self.stored_size,
        set(),
      )
      for place, one in enumerate(geometry):
        # The first crop and flip share the example's own key; see `_three_draws`.
        shares = isinstance(one, (Crop, Flip)) and type(one) not in seen
        own = key if shares else _own_key(key, one.name, place)
        drawn = one.draw(own, size, self.image_size)
        found = found.then(AxisMap(drawn.offset.astype(number), drawn.step.astype(number)))
        size = self.image_size if one.crops else size
        seen.add(type(one))
      return found

    maps = jax.vmap(draw)(keys)
    modes = [one.pad_mode for one in geometry if isinstance(one, Crop)]
    sampler = Sampler(maps, self.stored_size, self.image_size, (modes or ["constant"])[0])
    out = dict(batch)
    for name, feature in self._present(batch).items():
      if feature.kind == "image":
        out[name] = sampler.take(batch[name], 0) if exact else sampler.blend(batch[name])
      elif feature.kind == "label_map":
        out[name] = sampler.take(batch[name], IGNORED_LABEL)
      elif feature.kind == "boxes":
        out |= move_boxes(name, batch, maps, self.image_size, self.min_visibility)
    return out


def crop_and_flip(padding: int, pad_mode: str, flip: bool) -> tuple[Transform, ...]:
  """Returns the transforms that `data.crop_padding`, `pad_mode` and `flip` stand for.

  Raises:
    ConfigError: a padding or mode that a crop cannot have.
  """
  crop = {"name": "crop", "padding": padding, "pad_mode": pad_mode}
  listed = ([crop] if padding else []) + ([{"name": "flip"}] if flip else [])
  return tuple(from_json(one, TRANSFORMS, "data.crop_padding") for one in listed)


def _own_key(key: jax.Array, name: str, place: int) -> jax.Array:
  import jax

  return jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(name.encode())), place)


def _pair(values: Any) -> Size:
  first, second = values
  return int(first), int(second)
