"""Scenes of digits: what is in them is what their labels and boxes say, on every machine alike."""

import hashlib
import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnlab import data
from cnnlab.data.scenes import SceneSource, open_scenes
from cnnlab.errors import CnnlabError

INK = np.round(load_digits().images * (255 / 16)).astype(np.uint8)


def scenes(rest, count=20, split=0):
  source = open_scenes(rest)[split]
  return source.read(range(count), None, 3)


def test_a_scene_is_the_same_on_every_machine():
  first = scenes("boxes=True", count=5)
  digest = hashlib.sha256()
  for scene in first:
    for name in sorted(scene):
      digest.update(np.ascontiguousarray(scene[name]).tobytes())
  assert digest.hexdigest()[:16] == "212ccf672353e6d6"
  source = open_scenes("boxes=True")[0]
  (again,) = pickle.loads(pickle.dumps(source)).read([3], None, 3)
  for name, array in again.items():
    np.testing.assert_array_equal(array, first[3][name])
  assert not np.array_equal(scenes("", 1)[0]["image"], scenes("", 1, split=1)[0]["image"])


def test_labels_are_where_the_ink_of_a_digit_covers_half_of_a_pixel():
  """Without clutter one digit of the original size is found again, pixel by pixel."""
  for scene in scenes(
    "least=1,most=1,low=0.5,high=0.5,height=20,width=16,clutter=0,boxes=True", 10
  ):
    label = int(scene["labels"].max()) - 1
    rows, columns = np.nonzero(scene["labels"])
    top, left, bottom, right = scene["boxes"][0]
    assert (rows.min(), columns.min(), rows.max() + 1, columns.max() + 1) == (
      top,
      left,
      bottom,
      right,
    )
    assert scene["box_labels"].tolist() == [label]
    mask = scene["labels"] > 0
    of_class = INK[load_digits().target == label] >= 128
    padded = np.pad(mask, 8)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (8, 8)).reshape(-1, 64)
    found = (windows[:, None] == of_class.reshape(1, -1, 64)).all(-1)
    assert found[windows.sum(1) == mask.sum()].any(), "no digit of that class has this mask"


def test_boxes_and_masks_agree():
  many = scenes("least=2,most=5,boxes=True")
  assert {int(s["boxes_valid"].sum()) for s in many} <= set(range(1, 6))
  for scene in many:
    for box, label in zip(scene["boxes"][scene["boxes_valid"]], scene["box_labels"], strict=False):
      top, left, bottom, right = box.astype(int)
      inside = scene["labels"][top:bottom, left:right] == label + 1
      assert inside[0].any()
      assert inside[-1].any()
      assert inside[:, 0].any()
      assert inside[:, -1].any()


def test_settings_control_how_much_is_background():
  def share(rest):
    return np.mean([s["labels"] > 0 for s in scenes(rest, 40)])

  assert share("most=1,low=0.16,high=0.17") < 0.015
  assert share("least=4,most=4,low=0.5,high=0.5") > 0.15


def test_true_may_be_written_as_in_json():
  assert open_scenes("boxes=true")[0].settings == open_scenes("boxes=True")[0].settings


def test_the_splits_have_no_digit_in_common():
  train, evaluation = (source._ink[0] for source in open_scenes(""))
  assert len(train) + len(evaluation) == 1797
  known = {digit.tobytes() for digit in train}
  assert not known & {digit.tobytes() for digit in evaluation}


def test_it_is_a_data_set(section):
  found = data.load(
    section(name="scenes:train=12,eval=6,height=24,width=32"),
    seed=0, batch_size=4, eval_batch_size=3,
  )  # fmt: skip
  assert found.image_shape == (24, 32, 3)
  assert found.class_names == ("background", *"0123456789")
  assert (found.train.num_examples, found.eval.num_examples) == (12, 6)
  maps = found.train.constants["labels"]
  np.testing.assert_array_equal(maps, [s["labels"] for s in scenes("height=24,width=32", 12)])
  counts = found.label_counts("labels")
  np.testing.assert_array_equal(counts, [[(m == c).sum() for c in range(11)] for m in maps])
  streamed = data.load(
    section(name="scenes:train=12,eval=6,height=24,width=32", placement="stream", workers=0),
    seed=0, batch_size=4, eval_batch_size=3,
  )  # fmt: skip
  np.testing.assert_array_equal(streamed.label_counts("labels"), counts)


@pytest.mark.parametrize(
  ("rest", "message"),
  [
    ("heigth=32", "unknown argument 'heigth' of scenes; did you mean 'height'"),
    ("most=0", r"most' is 0; allowed: int from 1 to 50"),
    ("least=4", "least is 4 and most is 3; allowed: least up to most"),
    ("low=0.1", r"low is 0.1, digits of 5 pixels; allowed: digits of 6 pixels and more"),
    ("high=1.5", r"high' is 1.5; allowed: float over 0 up to 1"),
    ("most=1)", "cannot read"),
  ],
)
def test_settings_that_make_no_sense_are_named(rest, message):
  with pytest.raises(CnnlabError, match=message):
    open_scenes(rest)


def test_without_boxes_examples_can_be_mixed():
  assert set(SceneSource(open_scenes("")[0].settings, "train").features) == {"image", "labels"}
