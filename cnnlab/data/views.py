"""Which parts of a stored image an evaluation sees, and at which sizes."""

from __future__ import annotations

import dataclasses
import itertools

from cnnlab.data.images import Size
from cnnlab.errors import DataError, unknown

EVAL_CROPS = ("center", "whole", "dense", "ten", "grid2", "grid3", "grid4", "grid5")


@dataclasses.dataclass(frozen=True)
class EvalViews:
  """The views of an image; see `cnnlab.data.Preprocess` for `crops` and `scales`.

  Attributes:
    crops: one of `EVAL_CROPS`.
    scales: sizes of the image, as factors.
    stored_size: (height, width) of the image.
    image_size: of the network's input in training, and of crops.

  Raises:
    DataError: unknown crops, scales of a center crop, or an image that has no room for several.
  """

  crops: str
  scales: tuple[float, ...]
  stored_size: Size
  image_size: Size

  def __post_init__(self) -> None:
    """Raises DataError, as the class says."""
    if self.crops not in EVAL_CROPS:
      raise DataError(unknown("data.eval_crops", self.crops, EVAL_CROPS))
    if self.crops == "center" and self.scales != (1.0,):
      raise DataError(
        f"data.eval_scales is {self.scales}, which needs an evaluation of whole images: set "
        "data.eval_crops to 'whole', or to 'dense' for mirror images too"
      )
    several = self.crops not in ("center", "whole", "dense")
    if several and tuple(self.stored_size) == tuple(self.image_size):
      (height, width), (out_height, out_width) = self.stored_size, self.image_size
      raise DataError(
        f"data.eval_crops is {self.crops!r}, but the images of {height}x{width} leave no room for "
        f"more than one crop of {out_height}x{out_width}: set data.resize above data.image_size"
      )

  @property
  def mirrored(self) -> bool:
    """Whether the mirror image of each crop is seen too."""
    return self.crops not in ("center", "whole")

  @property
  def part(self) -> tuple[slice, slice]:
    """Rows and columns of the stored image that are seen."""
    if self.crops != "center":
      return slice(0, self.stored_size[0]), slice(0, self.stored_size[1])
    ((top, left),), (height, width) = self.windows(self.stored_size)
    return slice(top, top + height), slice(left, left + width)

  def windows(self, size: Size) -> tuple[list[tuple[int, int]], Size]:
    """Returns top and left of each crop of an image, and their size.

    Args:
      size: (height, width) of the image; crops are no larger.
    """
    if self.crops in ("whole", "dense"):
      return [(0, 0)], size
    window = (min(size[0], self.image_size[0]), min(size[1], self.image_size[1]))
    room = (size[0] - window[0], size[1] - window[1])
    middle = (room[0] // 2, room[1] // 2)
    if self.crops == "center":
      return [middle], window
    if self.crops == "ten":
      return [*itertools.product((0, room[0]), (0, room[1])), middle], window
    count = int(self.crops.removeprefix("grid"))
    rows, columns = ([i * free // (count - 1) for i in range(count)] for free in room)
    return list(itertools.product(rows, columns)), window
