"""Functions that build variants: dicts `{label: {dotted.config.key: value}}` that can be combined.

    values("model.width", [1, 2])                   width=1, width=2
    grid(values("model.norm", ["batch", "layer"]),  norm=batch,batch_size=4 ...: every pair
         values("batch_size", [4, 64]))
    zipped(values("model.depth", [8, 14]),          depth=8,width=2 and depth=14,width=1
           values("model.width", [2, 1]))
    joined({"base": {}}, grid(...))                 one after the other

Each function accepts what the others return, and dicts written by hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from cnnlab.errors import ConfigError

Overrides = Mapping[str, object]  # {dotted.config.key: value}
Variants = dict[str, Overrides]  # {label: overrides}


def values(key: str, settings: Sequence[object]) -> Variants:
  """Returns a variant for each value of one config key, labeled `last_part=value`."""
  short = key.rpartition(".")[2]
  return joined(*({f"{short}={_spell(value)}": {key: value}} for value in settings))


def grid(*parts: Mapping[str, Overrides]) -> Variants:
  """Returns every combination of one variant from each part, the last part varying fastest.

  Labels are joined with a comma.

  Raises:
    ConfigError: two parts set the same key, or two combinations get the same label.
  """
  return joined(*(_together(chosen) for chosen in itertools.product(*(p.items() for p in parts))))


def zipped(*parts: Mapping[str, Overrides]) -> Variants:
  """Returns the first variants of all parts combined, then the second ones, and so on.

  Raises:
    ConfigError: the parts differ in length, or two of them set the same key.
  """
  lengths = [len(part) for part in parts]
  if len(set(lengths)) > 1:
    raise ConfigError(f"zipped parts must have the same length, not {lengths}")
  return joined(*(_together(chosen) for chosen in zip(*(p.items() for p in parts), strict=True)))


def joined(*parts: Mapping[str, Overrides]) -> Variants:
  """Returns the variants of all parts, one after the other.

  Raises:
    ConfigError: a label occurs twice.
  """
  merged: Variants = {}
  for part in parts:
    for label, overrides in part.items():
      if label in merged:
        raise ConfigError(f"two variants are labeled {label!r}")
      merged[label] = dict(overrides)
  return merged


def _together(chosen: Sequence[tuple[str, Overrides]]) -> Variants:
  overrides: dict[str, object] = {}
  for label, part in chosen:
    twice = sorted(overrides.keys() & part.keys())
    if twice:
      raise ConfigError(f"variant {label!r} sets {twice[0]!r}, which another part also sets")
    overrides |= part
  return {",".join(label for label, _ in chosen): overrides}


def _spell(value: object) -> str:
  if isinstance(value, (list, tuple)):
    return "x".join(_spell(part) for part in value)
  return str(value).lower() if isinstance(value, bool) or value is None else str(value)
