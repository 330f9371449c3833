"""Data sets that are made from others, called `<kind>:<pixels>:<data set>`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from cnnlab.data import DataSettings, Source
from cnnlab.data.opening import open_sources
from cnnlab.errors import DataError


def open_derived(
  example: str, rest: str, settings: DataSettings, derive: Callable[[Source, int, int], Source]
) -> tuple[Source, Source]:
  """Returns the training and the evaluation source of a data set that is made from another.

  Args:
    example: of a name, such as 'shifted:4:digits'; its kind is the set's.
    rest: what follows the kind in `data.name`.
    settings: the data section.
    derive: from a source, a number of pixels and a seed to the source that is made from it.

  Raises:
    DataError: what follows the kind is not a number of pixels, a colon, and a data set.
  """
  kind = example.partition(":")[0]
  pixels, _, name = rest.partition(":")
  if not (pixels.isdecimal() and int(pixels) and name):
    raise DataError(
      f"data.name '{kind}:{rest}'; allowed: {kind}:<pixels>:<data set>, such as {example!r}"
    )
  opened = open_sources(dataclasses.replace(settings, name=name))
  return derive(opened.train, int(pixels), 0), derive(opened.eval, int(pixels), 1)
