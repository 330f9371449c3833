import subprocess
import sys

import numpy as np
import pytest

from cnnlab.data import order
from cnnlab.errors import DataError


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (12, 4), (5, 5), (7, 1)])
def test_each_epoch_takes_every_example_at_most_once_and_drops_the_remainder(count, batch):
  steps = count // batch
  for epoch in range(4):
    taken = np.concatenate(
      [order.train_indices(3, epoch * steps + i, count, batch) for i in range(steps)]
    )
    assert len(taken) == steps * batch
    assert len(set(taken.tolist())) == len(taken)
    assert set(taken.tolist()) <= set(range(count))
    if count % batch == 0:
      assert sorted(taken.tolist()) == list(range(count))


def test_order_depends_on_seed_and_epoch():
  def epoch(seed, number):
    return order.train_indices(seed, number, 100, 100).tolist()

  assert epoch(0, 0) != epoch(0, 1)
  assert epoch(0, 0) != epoch(1, 0)
  # Epoch and seed are no sum: seed 1's first epoch is not seed 0's second.
  assert epoch(1, 0) != epoch(0, 1)
  assert epoch(0, 0) != list(range(100))


def test_order_is_the_same_in_another_process_and_in_any_sequence_of_calls():
  steps = [17, 3, 40, 3]
  here = [order.train_indices(5, step, 23, 4).tolist() for step in steps]
  assert here[1] == here[3]
  code = (
    "from cnnlab.data.order import train_indices as f;"
    "print([f(5, s, 23, 4).tolist() for s in (40, 3, 17)])"
  )
  out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert out.stdout.strip() == str([here[2], here[1], here[0]])


def test_order_is_pinned():
  # Stored runs resume with this very order: a change of the algorithm must not pass unseen.
  assert order.train_indices(0, 0, 8, 8).tolist() == [0, 2, 1, 5, 4, 3, 6, 7]


def test_every_position_sees_every_example_equally_often():
  counts = np.zeros((6, 6))
  for epoch in range(3000):
    counts[np.arange(6), order.train_indices(1, epoch, 6, 6)] += 1
  assert np.abs(counts / 3000 - 1 / 6).max() < 0.03


@pytest.mark.parametrize(("count", "batch"), [(10, 3), (12, 4), (3, 8), (1, 1)])
def test_evaluation_covers_each_example_exactly_once(count, batch):
  seen = []
  for indices, mask in order.eval_batches(count, batch):
    assert indices.shape == mask.shape == (batch,)
    assert indices.dtype == np.int32
    assert indices.max() < count
    seen += indices[mask].tolist()
  assert seen == list(range(count))


def test_batch_larger_than_the_set_names_both():
  with pytest.raises(DataError, match=r"batch of 50 .* 20 examples"):
    order.train_indices(0, 0, 20, 50)
  with pytest.raises(DataError, match="at least 1"):
    order.steps_per_epoch(20, 0)


def test_hosts_share_each_batch():
  whole = order.BatchOrder(2, 6, 4)
  parts = [order.BatchOrder(2, 6, 4, i, 2) for i in range(2)]
  for step in range(5):
    joined = np.concatenate([part.train(step, 20) for part in parts])
    assert joined.tolist() == whole.train(step, 20).tolist()
  for step in range(whole.num_eval_batches(5)):
    for joined, expected in zip(
      zip(*(part.eval(step, 5) for part in parts), strict=True), whole.eval(step, 5), strict=True
    ):
      assert np.concatenate(joined).tolist() == expected.tolist()
  with pytest.raises(DataError, match=r"batch_size 7 .* hosts, 2; nearest: 6"):
    order.BatchOrder(0, 7, 4, 0, 2)
