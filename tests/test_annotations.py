"""Values held against annotations: ranges are declared, and numbers are finite where none is."""

import math
from typing import Annotated

import pytest

from cnnlab.annotations import (
  Between,
  Count,
  Fraction,
  NotEmpty,
  Positive,
  ProperFraction,
  Whole,
  allowed,
  describe_type,
  fit,
)

Wide = Annotated[int, Between(0, 2**32 - 1)]


@pytest.mark.parametrize(
  ("value", "hint"),
  [
    (math.nan, float),
    (math.inf, float),
    (1e300, float),
    (1e-300, float),
    (10**30, int),
    (10**30, float),
    ((1.0, math.nan), tuple[float, ...]),
    (math.nan, float | None),
    ({"a": {"b": math.nan}}, dict),
    ("a\0b", str),
    ("\udc80", str),
    ("x" * 20_000, str),
    ((1,) * 20_000, tuple[int, ...]),
    (0, Count),
    (-1, Whole),
    (math.nan, Fraction),
    (0, Positive),
    (1, ProperFraction),
    (True, Count),
    (2**32, Wide),
    ((1, 0), tuple[Count, ...]),
    ((), Annotated[tuple[int, ...], NotEmpty()]),
  ],
)
def test_nonsense_does_not_fit(value, hint):
  assert not fit(value, hint)[1]


@pytest.mark.parametrize(
  ("value", "hint", "fitted"),
  [
    (1, Positive, 1.0),
    (0, float, 0.0),
    (2**32 - 1, Wide, 2**32 - 1),
    ([1, 2], tuple[Count, ...], (1, 2)),
    ("Größe 日本", str, "Größe 日本"),
    (None, Fraction | None, None),
    ([[1], []], Annotated[tuple[tuple[Count, ...], ...], NotEmpty()], ((1,), ())),
  ],
)
def test_what_lies_within_its_range_fits(value, hint, fitted):
  assert fit(value, hint) == (fitted, True)


@pytest.mark.parametrize(
  ("hint", "words"),
  [
    (Count, "int of 1 and more"),
    (Positive, "float over 0"),
    (Fraction, "float from 0 to 1"),
    (ProperFraction, "float from 0 to below 1"),
    (Annotated[float, Between(0, 1, over=True)], "float over 0 up to 1"),
    (Annotated[float, Between(0, 1, over=True, below=True)], "float over 0 and below 1"),
    (Annotated[int, Between(high=5)], "int up to 5"),
    (Wide, "int from 0 to 4294967295"),
    (tuple[Count, Count], "tuple of 2 int of 1 and more"),
    (Annotated[tuple[int, ...], NotEmpty()], "tuple of int (one at least)"),
  ],
)
def test_ranges_are_said_in_words(hint, words):
  assert describe_type(hint) == words


def test_what_no_number_may_be_is_said_where_it_matters():
  assert allowed(-1, Count) == "int of 1 and more"
  assert "up to 2147483647" in allowed(10**30, Count)
  assert allowed(math.nan, Positive) == "float over 0, finite and up to 1e+09"
  assert "up to 1000 characters" in allowed("x" * 2000, str)
  assert "up to 1000 parts" in allowed((1,) * 2000, tuple[int, ...])
