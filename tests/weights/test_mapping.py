"""A user's file of names: what it renames, numbers, leaves out, and what it refuses."""

import numpy as np
import pytest

from cnnlab.weights import WeightsError, read_mapping, renamed


def names(tmp_path, text, *given):
  path = tmp_path / "names.txt"
  path.write_text(text)
  tensors = {name: np.full(1, i) for i, name in enumerate(given)}
  found = renamed(tensors, read_mapping(path))
  return {name: given[int(array[0])] for name, array in found.items()}


def test_stars_repeat_text_and_count(tmp_path):
  text = """
    # blocks are counted from 0 there
    net.*.conv*.weight = stage1_block*+1/conv*/kernel  # two stars
    net.**.gamma = **/scale
    ema.** = -
  """
  found = names(
    tmp_path, text, "net.9.conv2.weight", "net.a.b.gamma", "ema.net.x", "head.bias", "x"
  )
  assert found == {
    "stage1_block10/conv2/kernel": "net.9.conv2.weight",
    "a.b/scale": "net.a.b.gamma",
    "head.bias": "head.bias",
    "x": "x",
  }


def test_a_single_star_stops_at_dots_and_the_first_line_that_matches_counts(tmp_path):
  text = "a.*.w = one*\na.**.w = many\n"
  assert names(tmp_path, text, "a.1.w", "a.1.2.w") == {"one1": "a.1.w", "many": "a.1.2.w"}


@pytest.mark.parametrize(
  ("text", "message"),
  [
    ("a\n", r"names.txt:1: 'a' must be THEIRS = OURS"),
    ("\na = b = c\n", r"names.txt:2: .* must be THEIRS = OURS"),
    ("a.* = x*.*\n", r"'x\*.\*' has 2 stars, 'a.\*' only 1"),
    ("b = c\n", r"names.txt:1: matches no tensor"),
    ("a.* = c\n", r"'a.1' and 'a.x' both become 'c'"),
    ("a.* = c*+1\n", r"names.txt:1: 'x' of 'a.x' is no number to count from"),
    ("a.1 = a.x\n", r"'a.1' and 'a.x' both become 'a.x'"),
  ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, text, message):
  with pytest.raises(WeightsError, match=message):
    names(tmp_path, text, "a.1", "a.x")


def test_a_missing_file_is_named(tmp_path):
  with pytest.raises(WeightsError, match=r"gone\.txt' cannot be read"):
    read_mapping(tmp_path / "gone.txt")
