"""Evaluation on unseen classes, batches of several images of each class, subsets drawn by seed."""

import pickle

import numpy as np
import pytest

from cnnlab.data import DataSettings, from_arrays, load, register_source
from cnnlab.data.class_order import ClassOrder
from cnnlab.data.order import BatchOrder
from cnnlab.errors import DataError

LABELS = np.random.default_rng(0).integers(0, 12, 300).astype(np.int32)
IMAGES = np.random.default_rng(1).integers(0, 256, (300, 4, 4, 1), np.uint8)


def opened(**settings):
  options = {"name": "unseen:digits", "placement": "device", **settings}
  seed = options.pop("seed", 0)
  return load(DataSettings(**options), seed=seed, batch_size=8, eval_batch_size=8)


def classes(split):
  return set(split.constants["label"].tolist())


def test_classes_of_one_split_are_held_out_whole():
  data = opened(eval_fraction=0.3)
  assert len(classes(data.eval)) == 3
  assert classes(data.train) | classes(data.eval) == set(range(10))
  assert not classes(data.train) & classes(data.eval)
  assert data.train.num_examples + data.eval.num_examples == 1797
  tuning = opened(eval_fraction=0.3, validation=0.3)
  assert classes(tuning.train) < classes(data.train)
  assert len(classes(tuning.eval)) == 2
  assert not classes(tuning.eval) & (classes(tuning.train) | classes(data.eval))


def test_classes_that_training_has_are_left_out_of_the_other_split():
  register_source(
    "overlapping",
    from_arrays(
      IMAGES[:200], LABELS[:200] % 9, IMAGES[200:], LABELS[200:], class_names=[*"abcdefghijkl"]
    ),
    replace=True,
  )
  data = opened(name="unseen:overlapping")
  assert classes(data.eval) == {9, 10, 11}
  assert data.eval.num_examples == (LABELS[200:] > 8).sum()
  np.testing.assert_array_equal(data.eval.constants["image"], IMAGES[200:][LABELS[200:] > 8])


def test_omniglot_has_three_alphabets_that_training_lacks(shared):
  data = opened(
    name="unseen:tfds:omniglot_small",
    dir=str(shared / "data" / "tfds"),
    train_split="small1",
    eval_split="small2",
    image_size=28,
  )
  assert (data.train.num_examples, data.eval.num_examples) == (2720, 2120)
  alphabets = [
    {data.class_names[i].partition("/")[0] for i in classes(s)} for s in (data.train, data.eval)
  ]
  assert len(alphabets[0]) == 5
  assert len(alphabets[1]) == 3
  assert not alphabets[0] & alphabets[1]


def test_sets_that_cannot_be_divided_are_refused():
  register_source("same", from_arrays(IMAGES, LABELS, IMAGES, LABELS), replace=True)
  with pytest.raises(DataError, match="has every class of"):
    opened(name="unseen:same")
  with pytest.raises(DataError, match="have no label"):
    opened(name="unseen:scenes:train=16,eval=8,height=24,width=24")
  with pytest.raises(DataError, match="unknown data set 'digit'"):
    opened(name="unseen:digit")


def test_a_batch_has_k_images_of_each_of_p_classes():
  order = ClassOrder(3, 24, 8, labels=LABELS, images_per_class=4)
  seen = set()
  for step in range(60):
    indices = order.train(step, len(LABELS))
    assert len(set(indices.tolist())) == 24
    rows = LABELS[indices].reshape(6, 4)
    assert (rows == rows[:, :1]).all()
    assert len(set(rows[:, 0].tolist())) == 6
    seen |= set(indices.tolist())
  assert len(seen) > 290


def test_it_is_a_function_of_seed_and_step():
  one, other = (ClassOrder(3, 24, 8, labels=LABELS, images_per_class=4) for _ in range(2))
  expected = [other.train(step, 300) for step in (5, 6)]
  for step in (9, 6, 5):
    one.train(step, 300)
  np.testing.assert_array_equal(one.train(5, 300), expected[0])
  np.testing.assert_array_equal(pickle.loads(pickle.dumps(one)).train(6, 300), expected[1])
  assert (expected[0] != expected[1]).any()
  fourth = ClassOrder(4, 24, 8, labels=LABELS, images_per_class=4)
  assert (fourth.train(5, 300) != expected[0]).any()
  halves = [ClassOrder(3, 24, 8, i, 2, labels=LABELS, images_per_class=4) for i in (0, 1)]
  np.testing.assert_array_equal(np.concatenate([h.train(5, 300) for h in halves]), expected[0])


@pytest.mark.parametrize("placement", ["device", "stream"])
def test_it_reaches_the_batches(placement):
  data = opened(images_per_class=4, placement=placement, workers=0)
  batch = next(iter(data.train.train_batches(3)))
  batch = data.train.gather(data.train.constants, batch)
  labels = np.asarray(batch["label"]).reshape(2, 4)
  assert (labels == labels[:, :1]).all()
  assert len(set(labels[:, 0].tolist())) == 2
  data.close()


def test_batches_that_cannot_be_filled_are_refused():
  with pytest.raises(DataError, match="must be a multiple"):
    opened(images_per_class=3)
  with pytest.raises(DataError, match="needs 8 classes; the training split has 7"):
    opened(images_per_class=1, eval_fraction=0.3)
  with pytest.raises(DataError, match="have no label"):
    opened(name="scenes:train=16,eval=8,height=24,width=24", images_per_class=2)


def test_a_subset_by_seed_is_balanced_and_differs_between_seeds():
  first, again, other = (
    opened(name="digits", train_examples=20, train_examples_by="seed", seed=seed)
    for seed in (1, 1, 2)
  )
  for data in (first, other):
    assert np.bincount(data.train.constants["label"]).tolist() == [2] * 10
  a, b, c = (data.train.constants["image"] for data in (first, again, other))
  np.testing.assert_array_equal(a, b)
  assert (a != c).any()
  assert "train_examples_by" in opened(name="digits").unused
  assert isinstance(first.train.plan, BatchOrder)
