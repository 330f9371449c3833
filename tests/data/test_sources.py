import pickle

import numpy as np
import pytest
from sklearn.datasets import load_digits

from cnnlab.data import sources
from cnnlab.data.features import label_names
from cnnlab.errors import DataError


def test_digits_are_scikit_learns():
  digits, reference = sources.digits(), load_digits()
  assert digits.arrays["image"].shape == (1797, 8, 8, 1)
  np.testing.assert_allclose(
    digits.arrays["image"][..., 0] * (16 / 255), reference.images, atol=0.04
  )
  np.testing.assert_array_equal(digits.labels(), reference.target)
  assert label_names(digits.features) == tuple("0123456789")


def test_holdout_takes_the_same_share_of_every_class():
  labels = np.repeat(np.arange(4), (100, 50, 20, 10))
  np.random.default_rng(0).shuffle(labels)
  train, held = sources.holdout(labels, 0.2)
  assert np.bincount(labels[held]).tolist() == [20, 10, 4, 2]
  assert sorted([*train, *held]) == list(range(180))
  again = sources.holdout(labels, 0.2)
  np.testing.assert_array_equal(held, again[1])


def test_holdout_is_no_prefix():
  labels = np.zeros(100, int)
  _, held = sources.holdout(labels, 0.3)
  assert 10 < np.mean(held) < 90
  assert held.tolist() != list(range(30))


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, 1.5, 0.01])
def test_holdout_refuses_an_empty_side(fraction):
  with pytest.raises(DataError, match="eval_fraction"):
    sources.holdout(np.array([0, 0, 1, 1]), fraction)


def test_balanced_subset_takes_the_first_of_each_class():
  labels = np.array([0, 0, 0, 0, 1, 1, 2, 0, 1, 2])
  assert sources.balanced_subset(labels, 6, "n").tolist() == [0, 1, 4, 5, 6, 9]
  assert sources.balanced_subset(labels, 4, "n").tolist() == [0, 1, 4, 6]
  assert sources.balanced_subset(labels, 9, "n").tolist() == [0, 1, 2, 3, 4, 5, 6, 8, 9]
  with pytest.raises(DataError, match=r"data\.n is 11; the split has 10"):
    sources.balanced_subset(labels, 11, "data.n")


def test_subset_of_subset_reads_and_survives_pickling():
  digits = sources.digits()
  part = sources.Subset(sources.Subset(digits, np.array([5, 6, 7, 8])), np.array([3, 1]))
  part = pickle.loads(pickle.dumps(part))
  read = part.read([0, 1], None, 1)
  np.testing.assert_array_equal(read[0]["image"], digits.arrays["image"][8])
  assert [e["label"] for e in read] == part.labels().tolist() == digits.labels()[[8, 6]].tolist()
