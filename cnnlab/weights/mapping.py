"""A user's file that says which of a model's arrays each tensor of a weights file is.

Each line is `THEIRS = OURS`:

    # of a checkpoint whose blocks are counted from 0
    classifier.bias = fc.bias
    layers.*.*.** = layer*+1.*.**
    stem.kernel = conv1/kernel
    ema.** = -

THEIRS is a tensor's name in the file. `*` stands for text without dots and slashes, `**` for any. In
OURS they stand for the same text, in order; `*+1` and `*-1` for a number one larger or smaller. OURS
is torchvision's name where the model has one, a path here such as `stage1_block1/conv1/kernel`, or
`-` for a tensor that is left out. The first line that matches a name counts; names that no line
matches stay as they are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from cnnlab.errors import shown
from cnnlab.weights.reading import WeightsError

LEFT_OUT = "-"
_STAR = re.compile(r"\*\*?")
_PLACE = re.compile(r"\*\*?(?:([+-]\d+))?")


class Line(NamedTuple):
  """A line of the file.

  Attributes:
    where: file and number, for messages.
    theirs: expression that a name must match as a whole, with a group for each star.
    ours: the name here, stars included.
  """

  where: str
  theirs: re.Pattern[str]
  ours: str

  def named(self, found: re.Match[str]) -> str:
    """Returns our name for a match of `theirs`."""
    groups = iter(found.groups())

    def put(place: re.Match[str]) -> str:
      text = next(groups)
      if place[1] is None:
        return text
      if not text.isdecimal():
        raise WeightsError(
          f"{self.where}: {shown(text)} of {found[0]!r} is no number to count from"
        )
      return str(int(text) + int(place[1]))

    return _PLACE.sub(put, self.ours)


def read_mapping(path: str | os.PathLike[str]) -> list[Line]:
  """Returns the lines of a mapping file.

  Raises:
    WeightsError: it cannot be read, or a line has another form.
  """
  try:
    with open(path, encoding="utf-8") as file:
      texts = file.read().splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise WeightsError(f"the file of names {os.fspath(path)!r} cannot be read: {error}") from error
  lines = [_line(f"{os.fspath(path)}:{number}", text) for number, text in enumerate(texts, 1)]
  return [line for line in lines if line is not None]


def _line(where: str, text: str) -> Line | None:
  text = text.partition("#")[0].strip()
  if not text:
    return None
  theirs, equals, ours = (part.strip() for part in text.partition("="))
  stars, places = _STAR.findall(theirs), _STAR.findall(ours)
  if not (theirs and equals and ours) or "=" in ours:
    raise WeightsError(f"{where}: {shown(text)} must be THEIRS = OURS")
  if len(places) > len(stars):
    raise WeightsError(f"{where}: {ours!r} has {len(places)} stars, {theirs!r} only {len(stars)}")
  pattern = re.escape(theirs).replace(r"\*\*", "(.*)").replace(r"\*", "([^./]*)")
  return Line(where, re.compile(pattern), ours)


def renamed(tensors: Mapping[str, np.ndarray], lines: list[Line]) -> dict[str, np.ndarray]:
  """Returns the tensors under our names.

  Raises:
    WeightsError: a line matches no tensor, or two tensors get the same name.
  """
  origins: dict[str, str] = {}
  unused = dict.fromkeys(line.where for line in lines)
  for name in tensors:
    found = ((line, line.theirs.fullmatch(name)) for line in lines)
    line, match = next(((one, match) for one, match in found if match), (None, None))
    ours = name
    if line is not None and match is not None:
      unused.pop(line.where, None)
      ours = line.named(match)
    if ours == LEFT_OUT:
      continue
    if ours in origins:
      raise WeightsError(f"the tensors {origins[ours]!r} and {name!r} both become {ours!r}")
    origins[ours] = name
  if unused:
    raise WeightsError(f"{next(iter(unused))}: matches no tensor that an earlier line does not")
  return {ours: tensors[name] for ours, name in origins.items()}
