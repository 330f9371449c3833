"""What a detector of proposals costs: R-CNN, Fast R-CNN and Faster R-CNN on the same trunk.

    python -m cnnlab.bench.regions --trunk resnet18 --proposals 100 1000

Times of an image from pixels to boxes: selective search on the host, and the compiled network with
decoding and suppression of its boxes, the median of several calls. The last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.typing import VariableDict
from jax import Array

from cnnlab.bench.timing import repeat
from cnnlab.data.scenes import open_scenes
from cnnlab.models import create_model
from cnnlab.models.regions import region_net, whole_image
from cnnlab.proposals.selective_search import selective_search
from cnnlab.tasks.detection_decode import Decoding, Detections
from cnnlab.terminal import SafeConsole
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.types import Json, OptionValue

SEARCH, RCNN, FAST, FASTER = "selective search", "R-CNN", "Fast R-CNN", "Faster R-CNN"
CLASSES = 11  # of digits, with background
EVERY = 10**6  # more proposals than there are


class Sizes(NamedTuple):
  """What is timed.

  Attributes:
    trunk: name of the classifier.
    width: its multiplier of channels.
    side: of the image in pixels.
    stride: of the map that proposals are taken from.
    seconds: about how long a repeat runs.
    repeats: how many.
  """

  trunk: str = "resnet18"
  width: float = 0.25
  side: int = 128
  stride: int = 16
  seconds: float = 1.0
  repeats: int = 5


def time_regions(sizes: Sizes, counts: Sequence[int]) -> Iterator[Json]:
  """Yields {'what', 'proposals', 'ms'} of each part: milliseconds of an image, the median.

  Args:
    sizes: of what is timed.
    counts: numbers of proposals.
  """
  name = f"height={sizes.side},width={sizes.side},most=6,low=0.1,high=0.6,boxes=true"
  picture = open_scenes(name)[1].scene(0)["image"]
  found = len(selective_search(picture, EVERY))
  yield _timed(SEARCH, found, sizes, lambda: selective_search(picture, EVERY))
  image = jnp.asarray(picture, jnp.float32)[None] / 128 - 1
  shared: dict[str, OptionValue] = {"width": sizes.width, "features": 64, "hidden": 256}
  shared |= {"num_classes": CLASSES, "one_map": sizes.stride}
  for count in counts:
    boxes = _boxes(count, sizes.side)
    for what, form in ((RCNN, "crop"), (FAST, "align")):
      net = region_net(sizes.trunk, regions=form, **shared)
      yield _timed(what, count, sizes, _detector(net, image, boxes, jnp.ones((1, count), bool)))
    learned = create_model(f"fasterrcnn_{sizes.trunk}", proposals=count, **shared)
    yield _timed(FASTER, count, sizes, _detector(learned, image))


def _boxes(count: int, side: int) -> Array:
  """Returns boxes of any size and place; a network's time does not depend on them."""
  random = np.random.default_rng(0)
  low = random.uniform(0, 0.7 * side, (count, 2))
  high = np.minimum(low + random.uniform(0.1, 0.5, (count, 2)) * side, side)
  return jnp.asarray(np.concatenate([low, high], 1), jnp.float32)[None]


def _detector(net: nn.Module, image: Array, *proposals: Array) -> Callable[[], object]:
  """Returns a call that detects objects in an image, with random weights."""
  first = whole_image(image, 1) if proposals else ()
  variables = jax.jit(partial(net.init, train=False))(jax.random.key(0), image, *first)
  size = image.shape[1], image.shape[2]

  @jax.jit
  def detect(variables: VariableDict, *inputs: Array) -> Detections:
    return Decoding()(net.apply(variables, *inputs, train=False)[0], size)

  return lambda: jax.block_until_ready(detect(variables, image, *proposals))


def _timed(what: str, count: int, sizes: Sizes, call: Callable[[], object]) -> Json:
  def run(count: int) -> None:
    for _ in range(count):
      call()

  run(1)  # is compiled
  _, times = repeat(run, sizes.seconds, sizes.repeats)
  return {"what": what, "proposals": count, "ms": round(1e3 * float(np.median(times)), 2)}


def main(arguments: Sequence[str] | None = None) -> None:
  """Prints the times as a table and as JSON."""
  from rich.table import Table

  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  usual = Sizes()
  parser.add_argument("--trunk", default=usual.trunk)
  parser.add_argument("--width", type=float, default=usual.width)
  parser.add_argument("--side", type=int, default=usual.side, help="of the image in pixels")
  parser.add_argument("--stride", type=int, default=usual.stride, help="of the map")
  parser.add_argument("--proposals", type=int, nargs="+", default=[100, 1000])
  given = parser.parse_args(arguments)
  enable_compile_cache()
  sizes = Sizes(given.trunk, given.width, given.side, given.stride)
  rows = list(time_regions(sizes, given.proposals))
  table = Table("", "proposals", "ms an image")
  for row in rows:
    table.add_row(row["what"], str(row["proposals"]), f"{row['ms']:.1f}")
  SafeConsole().print(table)
  print(json.dumps({"sizes": sizes._asdict(), "times": rows}))


if __name__ == "__main__":
  main()
