"""Formats, wrappers, layouts and names of weights from elsewhere, on a small net without rules."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from cnnlab.models import create_model
from cnnlab.weights import WeightsError, from_tensors, read_mapping, read_tensors, renamed
from tests.weights.pth_files import write_pth

NET, OPTIONS, SHAPE = "convnet", {"features": (4, 6), "num_classes": 5}, (8, 8, 3)


@pytest.fixture(scope="module")
def variables():
  shapes = jax.eval_shape(
    lambda: create_model(NET, **OPTIONS).init(jax.random.key(0), np.zeros((1, *SHAPE)), train=False)
  )
  rng = np.random.default_rng(0)
  return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), dict(shapes))


@pytest.fixture(scope="module")
def ours(variables):
  """Tensors by their paths, with channels last."""
  return {"/".join(p[1:]): a for p, a in traverse_util.flatten_dict(variables).items()}


def channels_first(tensors):
  swapped = {4: (3, 2, 0, 1), 2: (1, 0)}
  return {
    name: array.transpose(swapped[array.ndim]) if name.endswith("kernel") else array
    for name, array in tensors.items()
  }


def convert(source, **options):
  return from_tensors(NET, source, SHAPE, **OPTIONS, **options)[1]


def assert_equal(found, expected):
  assert jax.tree.structure(found) == jax.tree.structure(expected)
  jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
def test_every_format_with_and_without_prefixes(ours, tmp_path, suffix, prefix):
  path, given = tmp_path / f"w{suffix}", {prefix + name: array for name, array in ours.items()}
  write = {
    ".pth": lambda: write_pth(path, given),
    ".safetensors": lambda: save_file(given, path),
    ".npz": lambda: np.savez(path, **given),
  }
  write[suffix]()
  found = read_tensors(path)
  assert found.keys() == ours.keys()
  for name, array in ours.items():
    np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize(
  "wrap",
  [
    lambda t: {"state_dict": t, "epoch": 3, "optimizer": {"state": {}}},
    lambda t: {"model_state_dict": t, "loss": 0.5},
    lambda t: {"net": t, "acc": 93.1},
    lambda t: {"model": {"state_dict": t}},
  ],
)
def test_wrappers_of_training_scripts_are_peeled(ours, tmp_path, wrap):
  found = read_tensors(write_pth(tmp_path / "w.pth", wrap(ours)))
  assert found.keys() == ours.keys()


def test_a_prefix_that_only_some_names_have_stays(tmp_path):
  save_file({"module.a": np.ones(1), "b": np.ones(1)}, tmp_path / "w.safetensors")
  assert read_tensors(tmp_path / "w.safetensors").keys() == {"module.a", "b"}


@pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x93NUMPY", b""])
def test_damaged_npz_files_are_named(tmp_path, content):
  (tmp_path / "w.npz").write_bytes(content)
  with pytest.raises(WeightsError, match=r"w\.npz' cannot be read"):
    read_tensors(tmp_path / "w.npz")


def test_objects_in_an_npz_file_are_not_loaded(tmp_path):
  np.savez(tmp_path / "w.npz", a=np.array([{}], dtype=object))
  with pytest.raises(WeightsError, match=r"w\.npz' cannot be read.*allow_pickle"):
    read_tensors(tmp_path / "w.npz")


def test_the_layout_is_the_one_that_fits(ours, variables):
  assert_equal(convert(ours), variables)
  assert_equal(convert(channels_first(ours)), variables)
  exported = {".".join(p): a for p, a in traverse_util.flatten_dict(variables).items()}
  assert_equal(convert(exported), variables)


def test_a_layout_that_cannot_be_told_is_asked_for():
  options = {"features": (3, 3), "hidden": (), "num_classes": 3}
  net = create_model(NET, **options)
  variables = net.init(jax.random.key(0), np.zeros((1, 4, 4, 3)), train=False)
  flat = traverse_util.flatten_dict(dict(variables))
  tensors = {"/".join(p[1:]): np.asarray(a) for p, a in flat.items()}
  square = all(a.shape[-1] == a.shape[-2] for n, a in tensors.items() if n.endswith("kernel"))
  assert square, "the test needs kernels that fit both ways"
  with pytest.raises(WeightsError, match=r"fit the model as \[out, in, .*layout='channels_first'"):
    from_tensors(NET, tensors, (4, 4, 3), **options)
  for layout, given in (
    ("channels_last", tensors),
    ("channels_first", channels_first(tensors)),
  ):
    assert_equal(from_tensors(NET, given, (4, 4, 3), layout=layout, **options)[1], dict(variables))
  with pytest.raises(WeightsError, match="unknown layout 'chanels_last'; did you mean"):
    from_tensors(NET, tensors, (4, 4, 3), layout="chanels_last", **options)


def test_what_does_not_fit_is_listed_in_one_message(ours):
  wrong = {name: array for name, array in ours.items() if name != "head/bias"}
  wrong |= {"extra": np.ones(2), "block1_conv1/kernel": np.ones((5, 5, 3, 4))}
  message = (
    r"1 missing: head/bias; 1 left over: extra; 1 of another shape: block1_conv1/kernel "
    r"\(5, 5, 3, 4\) for 3x3x3x4"
  )
  with pytest.raises(WeightsError, match=message):
    convert(wrong)


def test_names_of_a_stranger_are_translated(ours, variables, tmp_path):
  theirs = {f"f.{name.replace('/', '.')}": array for name, array in ours.items()} | {
    "epoch": np.zeros(())
  }
  with pytest.raises(WeightsError, match="missing: block1_conv1/.*left over: epoch, f.block1"):
    convert(theirs)
  path = tmp_path / "names.txt"
  path.write_text("f.*.* = */*\nepoch = -\n")
  assert_equal(convert(renamed(theirs, read_mapping(path))), variables)
