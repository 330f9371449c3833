"""Values held against type annotations: options of models and settings are checked by them."""

from __future__ import annotations

import types
import typing
from typing import Any, Literal


def fit(value: Any, hint: Any) -> tuple[Any, bool]:
  """Returns (value converted to `hint`, whether it could be).

  Lists become tuples, and ints are taken for floats; a bool is no number.
  """
  origin, args = typing.get_origin(hint), typing.get_args(hint)
  if hint is Any:
    return value, True
  if origin is Literal:
    return value, any(value == choice and type(value) is type(choice) for choice in args)
  if origin in (typing.Union, types.UnionType):
    fits = (fit(value, choice) for choice in args)
    return next(((fitted, True) for fitted, ok in fits if ok), (value, False))
  if origin is tuple or hint is tuple:
    if not isinstance(value, (list, tuple)):
      return value, False
    kinds = [args[0]] * len(value) if args[-1:] == (Ellipsis,) else list(args) or [Any] * len(value)
    if len(kinds) != len(value):
      return value, False
    parts = [fit(part, kind) for part, kind in zip(value, kinds, strict=True)]
    return tuple(part for part, _ in parts), all(ok for _, ok in parts)
  if hint is type(None) or hint is None:
    return value, value is None
  if hint is float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return (float(value) if number else value), number
  if hint is int:
    return value, isinstance(value, int) and not isinstance(value, bool)
  return value, isinstance(value, origin or hint)


def describe_type(hint: Any) -> str:
  """Returns a type in words: 'float', 'tuple of 3 int', "'A', 'B' or 'C'"."""
  origin, args = typing.get_origin(hint), typing.get_args(hint)
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


def _either(words: list[str]) -> str:
  return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
