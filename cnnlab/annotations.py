"""Values held against type annotations: options of models and settings are checked by them.

Ranges belong to the declaration: `rate: Fraction`, or `Annotated[float, Between(0, 10)]`. Where
none is declared, numbers are finite and not absurdly large, and text is no novel.
"""

from __future__ import annotations

import dataclasses
import types
import typing
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

LARGEST_INT = 2**31 - 1  # of JAX's default integers
LARGEST_FLOAT = 1e9
SMALLEST_FLOAT = 1e-37  # below, float32 loses digits and then gives 0
LONGEST_TEXT = 1000
LONGEST_TUPLE = 1000
DEEPEST = 8


@dataclasses.dataclass(frozen=True)
class Between:
  """The range of a number, as metadata of `typing.Annotated`.

  Attributes:
    low, high: its ends; None: as far as any number goes.
    over: whether the low end itself is left out.
    below: whether the high end itself is left out.
  """

  low: float | None = None
  high: float | None = None
  over: bool = False
  below: bool = False

  def holds(self, value: float) -> bool:
    """Returns whether a number lies within the range; nan does not."""
    low = self.low is None or (value > self.low if self.over else value >= self.low)
    high = self.high is None or (value < self.high if self.below else value <= self.high)
    return low and high

  def __str__(self) -> str:
    """Returns the range in words, to follow the name of a type: 'of 1 and more'."""
    if self.low is None:
      return "" if self.high is None else f"{'below' if self.below else 'up to'} {self.high:g}"
    if self.high is None:
      return f"over {self.low:g}" if self.over else f"of {self.low:g} and more"
    words = f"{'over' if self.over else 'from'} {self.low:g} "
    joint = (
      ("and " if self.over else "to ") + "below" if self.below else "up to" if self.over else "to"
    )
    return f"{words}{joint} {self.high:.10g}"


@dataclasses.dataclass(frozen=True)
class NotEmpty:
  """Metadata of `typing.Annotated` for a tuple that must hold something."""

  def __str__(self) -> str:
    """Returns the rule in words, to follow the name of a type."""
    return "(one at least)"


Count: TypeAlias = Annotated[int, Between(1)]
Whole: TypeAlias = Annotated[int, Between(0)]
Positive: TypeAlias = Annotated[float, Between(0, over=True)]
NonNegative: TypeAlias = Annotated[float, Between(0)]
Fraction: TypeAlias = Annotated[float, Between(0, 1)]
PositiveFraction: TypeAlias = Annotated[float, Between(0, 1, over=True)]
ProperFraction: TypeAlias = Annotated[float, Between(0, 1, below=True)]

_ANY_INT = Between(-LARGEST_INT, LARGEST_INT)
_ANY_FLOAT = Between(-LARGEST_FLOAT, LARGEST_FLOAT)


def fit(value: Any, hint: Any) -> tuple[Any, bool]:
  """Returns (value converted to `hint`, whether it could be).

  Lists become tuples, and ints are taken for floats; a bool is no number. A number must lie in the
  range that is declared, and be one that JAX can hold.
  """
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if hint is Any:
    return value, _is_plain(value)
  if origin is Annotated:
    fitted, fits = fit(value, args[0]) if _range(args) is None else _number(value, args)
    return fitted, fits and (bool(fitted) or not any(isinstance(a, NotEmpty) for a in args))
  if origin is Literal:
    return value, any(type(value) is type(choice) and value == choice for choice in args)
  if origin in (typing.Union, types.UnionType):
    tried = (fit(value, choice) for choice in args)
    return next(((fitted, True) for fitted, ok in tried if ok), (value, False))
  if origin is tuple or hint is tuple:
    return _fit_tuple(value, args)
  if hint is type(None) or hint is None:
    return value, value is None
  if hint in (int, float):
    return _number(value, (hint,))
  return value, isinstance(value, origin or hint) and _is_plain(value)


def _fit_tuple(value: Any, args: tuple) -> tuple[Any, bool]:
  if not isinstance(value, (list, tuple)) or len(value) > LONGEST_TUPLE:
    return value, False
  kinds = [args[0]] * len(value) if args[-1:] == (Ellipsis,) else list(args) or [Any] * len(value)
  if len(kinds) != len(value):
    return value, False
  parts = [fit(part, kind) for part, kind in zip(value, kinds, strict=True)]
  return tuple(part for part, _ in parts), all(ok for _, ok in parts)


def _number(value: Any, args: tuple) -> tuple[Any, bool]:
  """Returns the value as the number that `args` asks for, (type, metadata...), and whether it is."""
  kind, declared = args[0], _range(args) or Between()
  if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else int):
    return value, False
  widest = _ANY_FLOAT if kind is float else _ANY_INT
  # A declared end replaces the widest one, as that of seeds, which are unsigned.
  low = widest.low if declared.low is None else declared.low
  high = widest.high if declared.high is None else declared.high
  if not Between(low, high, declared.over, declared.below).holds(value):
    return value, False
  if kind is float:
    value = float(value)
    return value, value == 0 or abs(value) >= SMALLEST_FLOAT
  return value, True


def _range(args: tuple) -> Between | None:
  return next((part for part in args[1:] if isinstance(part, Between)), None)


def _is_plain(value: Any, depth: int = 0) -> bool:
  """Returns whether numbers in a value are finite and not absurdly large, and text likewise."""
  if isinstance(value, str):
    controls = (unicodedata.category(character) in ("Cc", "Cs") for character in value)
    return len(value) <= LONGEST_TEXT and not any(controls)
  if isinstance(value, bool) or value is None:
    return True
  if isinstance(value, (int, float)):
    return _number(value, (type(value),))[1]
  if isinstance(value, Mapping):
    value = [*value, *value.values()]
  if isinstance(value, (list, tuple)):
    deeper = depth < DEEPEST and len(value) <= LONGEST_TUPLE
    return deeper and all(_is_plain(part, depth + 1) for part in value)
  return True


def describe_type(hint: Any) -> str:
  """Returns a type in words: 'float', 'int of 1 and more', 'tuple of 3 int', "'A', 'B' or 'C'"."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if origin is Annotated:
    return " ".join(filter(None, [describe_type(args[0]), *map(str, args[1:])]))
  if origin is Literal:
    return _either([repr(choice) for choice in args])
  if origin in (typing.Union, types.UnionType):
    return _either([describe_type(choice) for choice in args])
  if origin is tuple and args:
    kinds = [describe_type(kind) for kind in args if kind is not Ellipsis]
    if Ellipsis in args:
      return f"tuple of {kinds[0]}"
    if len(set(kinds)) == 1:
      return f"tuple of {len(kinds)} {kinds[0]}"
    return f"tuple of ({', '.join(kinds)})"
  return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def allowed(value: Any, hint: Any) -> str:
  """Returns in words what a refused value should have been."""
  words = describe_type(hint)
  if _is_plain(value):
    return words
  if isinstance(value, str):
    return f"{words} of up to {LONGEST_TEXT} characters, none of them a control character"
  if isinstance(value, (int, float)):
    return f"{words}, finite and up to {LARGEST_INT if 'int' in words else f'{LARGEST_FLOAT:g}'}"
  return (
    f"{words}, of up to {LONGEST_TUPLE} parts; numbers are finite and up to {LARGEST_FLOAT:g}, text "
    f"has up to {LONGEST_TEXT} characters"
  )


def _either(words: list[str]) -> str:
  return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
