"""Single examples of a split, by their position in an evaluation."""

import dataclasses

import numpy as np
import pytest

from cnnlab.data import Feature
from cnnlab.data.images import BadImage
from cnnlab.data.order import BatchOrder
from cnnlab.data.sources import ArraySource
from cnnlab.data.splits import DeviceSplit, decode_all
from cnnlab.data.stream import StreamSplit
from cnnlab.errors import DataError

FEATURES = {
  "image": Feature("image", (4, 4, 1), "uint8"),
  "label": Feature("label", (), "int32", tuple("ab")),
}
ARRAYS = {
  "image": np.random.default_rng(0).integers(0, 256, (9, 4, 4, 1), dtype=np.uint8),
  "label": np.arange(9, dtype=np.int32) % 2,
}
PLAN = BatchOrder(seed=0, batch_size=2, eval_batch_size=4)


@dataclasses.dataclass(frozen=True)
class Damaged(ArraySource):
  """The fourth image of it cannot be read."""

  def read(self, indices, size, channels):
    rows = super().read(indices, size, channels)
    return [BadImage("3", "torn") if i == 3 else r for i, r in zip(indices, rows, strict=True)]


def splits():
  damaged = Damaged("arrays", FEATURES, ARRAYS)
  yield StreamSplit(damaged, (4, 4), 1, 0, 1, PLAN)
  yield DeviceSplit(*decode_all(damaged, (4, 4), 1), PLAN)


@pytest.mark.parametrize("split", splits(), ids=["streamed", "on the device"])
def test_positions_are_those_of_an_evaluation_without_what_cannot_be_read(split):
  evaluated = []
  for batch in split.eval_batches():
    gathered = split.gather(split.constants, batch)
    evaluated.append(np.asarray(gathered["image"])[np.asarray(batch["mask"])])
  evaluated = np.concatenate(evaluated)
  assert len(evaluated) == 8
  found = split.examples([7, 0, 3])
  np.testing.assert_array_equal(found["image"], evaluated[[7, 0, 3]])
  np.testing.assert_array_equal(found["label"], ARRAYS["label"][[8, 0, 4]])


def test_an_image_that_has_become_unreadable_is_named():
  (streamed, _) = splits()
  with pytest.raises(DataError, match="3: torn"):
    streamed.examples([3])
