import pytest

from cnnlab.errors import ConfigError
from cnnlab.lab.variants import grid, joined, values, zipped

NORMS = values("model.norm", ["batch", "layer"])
SIZES = values("batch_size", [4, 64])


def test_values_are_labeled_by_the_keys_last_part():
  assert NORMS == {"norm=batch": {"model.norm": "batch"}, "norm=layer": {"model.norm": "layer"}}
  assert list(values("model.features", [(16, 32), (8,)])) == ["features=16x32", "features=8"]
  assert list(values("data.flip", [True, None])) == ["flip=true", "flip=none"]


def test_grid_is_every_combination():
  found = grid(NORMS, SIZES)
  assert list(found) == [
    "norm=batch,batch_size=4",
    "norm=batch,batch_size=64",
    "norm=layer,batch_size=4",
    "norm=layer,batch_size=64",
  ]
  assert found["norm=layer,batch_size=4"] == {"model.norm": "layer", "batch_size": 4}


def test_zipped_goes_in_step():
  assert zipped(NORMS, SIZES) == {
    "norm=batch,batch_size=4": {"model.norm": "batch", "batch_size": 4},
    "norm=layer,batch_size=64": {"model.norm": "layer", "batch_size": 64},
  }


def test_parts_compose():
  found = joined({"base": {}}, grid(zipped(NORMS, SIZES), {"a": {"x": 1}, "b": {"x": 2}}))
  assert len(found) == 5
  assert found["norm=batch,batch_size=4,b"] == {"model.norm": "batch", "batch_size": 4, "x": 2}


def test_conflicts_are_errors():
  with pytest.raises(ConfigError, match="sets 'batch_size'"):
    grid(SIZES, values("batch_size", [8]))
  with pytest.raises(ConfigError, match="same length"):
    zipped(NORMS, values("x", [1, 2, 3]))
  with pytest.raises(ConfigError, match="'norm=batch'"):
    joined(NORMS, values("optim.norm", ["batch"]))
