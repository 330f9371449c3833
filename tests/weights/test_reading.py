"""Formats, wrappers, layouts and names of weights from elsewhere, on a small net without rules."""

import jax
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from cnnlab.models import create_model
from cnnlab.models.registry import family_of
from cnnlab.weights import (
  WeightsError,
  from_tensors,
  read_mapping,
  read_parts,
  read_tensors,
  renamed,
)
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.layouts import flattened_inputs
from cnnlab.weights.names import source_of
from tests.weights.pth_files import write_pth

NET, SHAPE = "convnet", (8, 8, 3)
OPTIONS = {"features": (4, 6), "num_classes": 5, "head": "avgpool"}


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


@pytest.mark.parametrize("head", ["fc", "avgpool"])
def test_a_flattened_map_has_its_channels_first_or_last(head):
  """The same function of an image, computed by hand with the file's order of a flattened map."""
  options = {"features": (4,), "convs_per_block": 1, "hidden": (7,), "num_classes": 5, "head": head}
  net = create_model(NET, **options)
  image = np.random.default_rng(1).normal(size=(1, *SHAPE)).astype(np.float32)
  variables = net.init(jax.random.key(0), image, train=False)
  flat = traverse_util.flatten_dict(dict(variables))
  theirs = channels_first({"/".join(p[1:]): np.asarray(a) for p, a in flat.items()})
  _, found = from_tensors(NET, theirs, SHAPE, layout="channels_first", **options)
  logits, feats = net.apply(found, image, train=False)
  block = np.asarray(feats["block1"])[0]
  x = block.transpose(2, 0, 1).reshape(-1) if head == "fc" else block.mean((0, 1))
  x = np.maximum(theirs["hidden1/kernel"] @ x + theirs["hidden1/bias"], 0)
  np.testing.assert_allclose(
    logits[0], theirs["head/kernel"] @ x + theirs["head/bias"], rtol=1e-4, atol=1e-5
  )


@pytest.mark.parametrize(
  ("name", "size"), [("alexnet", 224), ("vgg11", 64), ("googlenet", 224), ("vit_ti_16", 32)]
)
def test_flattened_maps_are_those_that_the_rules_know(name, size):
  net = create_model(name)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  image = np.zeros((1, size, size, 3), np.float32)
  found = flattened_inputs(lambda: net.init(rngs, image, train=False))
  paths = traverse_util.flatten_dict(jax.eval_shape(lambda: net.init(rngs, image, train=False)))
  family = FAMILIES[family_of(name)].of(net)
  rules = {path: source_of(family, path).flattened for path in paths if path[-1] == "kernel"}
  assert found == {path: channels for path, channels in rules.items() if channels}


def test_an_npz_file_that_unpacks_to_much_more_is_refused(tmp_path):
  np.savez_compressed(tmp_path / "w.npz", a=np.zeros(10_000_000, np.float32))
  with pytest.raises(WeightsError, match=r"its arrays would take 400\d+ bytes"):
    read_tensors(tmp_path / "w.npz")


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_damaged_npz_file_gives_no_other_error(tmp_path, save):
  path = tmp_path / "w.npz"
  save(path, a=np.arange(6, dtype=np.float32).reshape(2, 3))
  whole, refused = path.read_bytes(), 0
  for place in range(len(whole)):
    for bit in (0, 3, 7):
      damaged = bytearray(whole)
      damaged[place] ^= 1 << bit
      path.write_bytes(damaged)
      try:
        read_tensors(path)
      except WeightsError as error:
        refused += "w.npz" in str(error)
  assert refused > len(whole)


def test_a_file_may_hold_a_part_and_numbers_of_eight_bits(tmp_path):
  whole = np.linspace(-1, 2, 256, dtype=np.float32)
  np.savez(tmp_path / "a.npz", one=whole)
  quantized = {"q": np.arange(256, dtype=np.uint8), "scale": 3 / 255, "min": -1.0}
  np.savez(tmp_path / "b.npz", **{f"two.{part}": value for part, value in quantized.items()})
  files = [str(tmp_path / name) for name in ("a.npz", "b.npz")]
  found = read_parts(files)
  assert sorted(found) == ["one", "two"]
  np.testing.assert_allclose(found["two"], whole, atol=1e-6)
  assert found["two"].dtype == np.float32
  with pytest.raises(WeightsError, match=r"a.npz' has 'one', which an earlier file has too"):
    read_parts([*files, files[0]])
