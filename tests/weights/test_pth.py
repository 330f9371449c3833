"""`.pth` files are read without PyTorch, in both formats, and nothing in them is executed."""

import pickle
import zipfile

import numpy as np
import pytest

from cnnlab.weights import WeightsError, read_tensors
from tests.weights.pth_files import calling, write_pth, write_zip

TENSORS = {
  "a.weight": np.arange(12, dtype=np.float32).reshape(4, 3),
  "b.running_mean": np.linspace(0, 1, 5),
  "b.num_batches_tracked": np.asarray(7),
  "c": np.ones((2, 0), np.float16),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older"])
@pytest.mark.parametrize("wrapped", [False, True], ids=["weights", "checkpoint"])
def test_tensors_are_those_that_were_written(tmp_path, legacy, wrapped):
  content = {"state_dict": TENSORS, "epoch": 3} if wrapped else TENSORS
  found = read_tensors(write_pth(tmp_path / "w.pth", content, legacy))
  assert list(found) == ["a.weight", "b.running_mean", "b.num_batches_tracked", "c"]
  for name, array in TENSORS.items():
    np.testing.assert_array_equal(found[name], array)


def test_a_transposed_view_keeps_its_strides(tmp_path):
  path = write_pth(tmp_path / "w.pth", {"a": TENSORS["a.weight"]}, size=(3, 4), stride=(1, 3))
  np.testing.assert_array_equal(read_tensors(path)["a"], TENSORS["a.weight"].T)


@pytest.mark.parametrize(
  ("module", "name"),
  [("os", "system"), ("builtins", "eval"), ("builtins", "getattr"), ("torch", "load")],
)
def test_a_pickle_that_calls_something_is_refused_by_its_name(tmp_path, module, name):
  marker = tmp_path / "executed"
  path = write_zip(tmp_path / "w.pth", calling(module, name, f"touch {marker}"))
  with pytest.raises(WeightsError, match=rf"w.pth.*it names {module}.{name}, which could|{name}"):
    read_tensors(path)
  assert not marker.exists()


@pytest.mark.parametrize(
  ("wrong", "message"),
  [
    ({"size": (1 << 40, 3)}, "larger than its storage"),
    ({"stride": (1 << 40, 1)}, "larger than its storage"),
    ({"size": (1 << 20, 1 << 20), "stride": (0, 0)}, "larger than its storage"),
    ({"offset": -8}, "describes a tensor wrongly"),
    ({"numel": 1 << 50}, "cut"),
  ],
)
def test_a_tensor_beyond_its_storage_is_refused(tmp_path, wrong, message):
  path = write_pth(tmp_path / "w.pth", {"a": np.ones((4, 3), np.float32)}, **wrong)
  with pytest.raises(WeightsError, match=message):
    read_tensors(path)


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"\x80\x02Nr\xff\xff\xff\x7f.", "no|holds"),  # room for two billion objects
    (b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", "more than build weights"),
    (b"\x80\x02\x82\x01.", "more than build weights"),  # a registered extension
    (pickle.dumps({"a": 1}, 2), "no named tensor"),
    (b"", "damaged"),
  ],
)
def test_other_pickles_are_refused(tmp_path, data, message):
  with pytest.raises(WeightsError, match=message):
    read_tensors(write_zip(tmp_path / "w.pth", data))


def test_a_compressed_part_is_refused(tmp_path):
  path = write_zip(tmp_path / "w.pth", b"N0" * 10_000_000, compression=zipfile.ZIP_DEFLATED)
  with pytest.raises(WeightsError, match="compressed"):
    read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "older"])
def test_a_cut_file_is_refused(tmp_path, legacy):
  path = write_pth(tmp_path / "w.pth", TENSORS, legacy)
  whole = path.read_bytes()
  for size in range(0, len(whole), 37):
    path.write_bytes(whole[:size])
    with pytest.raises(WeightsError, match=r"w\.pth"):
      read_tensors(path)
