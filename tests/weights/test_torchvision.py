"""What the conversion takes, changes on request, and refuses; on nets made small by options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from safetensors.numpy import save_file

from cnnlab.errors import ConfigError
from cnnlab.models import create_model, list_models
from cnnlab.models.registry import family_of
from cnnlab.weights import WeightsError, convertible_models, from_torchvision, read_tensors
from cnnlab.weights.families import FAMILIES
from cnnlab.weights.names import source_of
from tests import parity_weights

SMALL = {"width": 0.125, "blocks": (1, 1, 1, 1)}


def state_dict(name="resnet18", num_classes=1000, **options):
  """Tensors under torchvision's names for a net of ours, by the rules in reverse."""
  net = create_model(name, num_classes=num_classes, **options)
  key = jax.random.key(0)
  shapes = jax.eval_shape(
    lambda: net.init({"params": key, "dropout": key}, jnp.zeros((1, 224, 224, 3)), train=False)
  )
  tensors = {}
  for path, leaf in traverse_util.flatten_dict(dict(shapes)).items():
    place = source_of(FAMILIES[family_of(name)], path)
    shape = leaf.shape
    if place.name.endswith("weight"):
      shape = (shape[3], shape[2], *shape[:2]) if len(shape) == 4 else shape[::-1]
    tensors[place.name] = parity_weights.tensor(place.name, shape)
  return tensors


@pytest.fixture(scope="module")
def small():
  return state_dict(**SMALL)


def test_layouts(small):
  _, variables = from_torchvision("resnet18", small, **SMALL)
  params, stats = variables["params"], variables["batch_stats"]
  conv = small["layer2.0.downsample.0.weight"]
  np.testing.assert_array_equal(
    params["stage2_block1"]["shortcut_conv"]["kernel"], conv.transpose(2, 3, 1, 0)
  )
  np.testing.assert_array_equal(params["head"]["kernel"], small["fc.weight"].T)
  np.testing.assert_array_equal(params["norm1"]["scale"], small["bn1.weight"])
  np.testing.assert_array_equal(
    stats["stage4_block1"]["norm2"]["var"], small["layer4.0.bn2.running_var"]
  )
  assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}


def test_counters_are_no_surplus_and_frozen_norms_take_the_same_file(small):
  counted = {**small, "bn1.num_batches_tracked": np.zeros((), np.int64)}
  _, variables = from_torchvision("resnet18", counted, norm="frozen_batch", **SMALL)
  np.testing.assert_array_equal(variables["batch_stats"]["norm1"]["scale"], small["bn1.weight"])
  assert "norm1" not in variables["params"]


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"layer1.0.conv1.weight": None}, "1 missing: layer1.0.conv1.weight"),
    ({"extra.weight": np.zeros(3)}, "1 left over: extra.weight"),
    ({"bn1.bias": np.zeros(9)}, r"1 of another shape: bn1.bias \(9,\) for 8"),
    ({"conv1.weight": np.zeros((8, 3, 5, 5))}, r"conv1.weight \(8, 3, 5, 5\) for 7x7x3x8"),
    ({"fc.bias": None, "x": np.zeros(1)}, "1 missing: fc.bias; 1 left over: x"),
    (
      {"fc.weight": None, "fc.bias": None},
      "its classifier does not fit: pass num_classes, or new_head=True",
    ),
  ],
)
def test_what_does_not_fit_is_named(small, change, message):
  tensors = {name: array for name, array in {**small, **change}.items() if array is not None}
  with pytest.raises(WeightsError, match=f"do not fit model 'resnet18'.*{message}"):
    from_torchvision("resnet18", tensors, **SMALL)


def test_a_head_of_another_size_is_new_only_on_request(small):
  _, variables = from_torchvision("resnet18", small, num_classes=7, **SMALL)
  head = variables["params"]["head"]
  assert head["kernel"].shape == (64, 7)
  assert 0.005 < float(head["kernel"].std()) < 0.02
  other = from_torchvision("resnet18", small, num_classes=7, seed=1, **SMALL)[1]
  assert not np.allclose(head["kernel"], other["params"]["head"]["kernel"])
  np.testing.assert_array_equal(
    variables["params"]["conv1"]["kernel"], small["conv1.weight"].transpose(2, 3, 1, 0)
  )
  with pytest.raises(WeightsError, match="fc.weight.*its classifier"):
    from_torchvision("resnet18", small, num_classes=7, new_head=False, **SMALL)


def test_a_head_of_the_same_size_is_kept_unless_a_new_one_is_asked_for(small):
  kept = from_torchvision("resnet18", small, num_classes=1000, **SMALL)[1]
  np.testing.assert_array_equal(kept["params"]["head"]["kernel"], small["fc.weight"].T)
  new = from_torchvision("resnet18", small, new_head=True, **SMALL)[1]
  assert not np.allclose(new["params"]["head"]["kernel"], small["fc.weight"].T)
  seven = {**small, "fc.weight": small["fc.weight"][:7], "fc.bias": small["fc.bias"][:7]}
  own = from_torchvision("resnet18", seven, num_classes=7, **SMALL)[1]
  np.testing.assert_array_equal(own["params"]["head"]["bias"], small["fc.bias"][:7])
  backbone = {name: array for name, array in small.items() if not name.startswith("fc.")}
  assert from_torchvision("resnet18", backbone, num_classes=7, **SMALL)[1]["params"]["head"]


def test_options_that_torchvision_has_no_weights_for_are_refused(small):
  with pytest.raises(WeightsError, match=r"left over: bn1\.running_mean"):
    from_torchvision("resnet18", small, norm="layer", **SMALL)
  with pytest.raises(ConfigError, match="no tensor for the parameter .*/norm_last"):
    from_torchvision("resnet18", small, preact=True, **SMALL)
  with pytest.raises(ConfigError, match="unknown model 'lenet5' of torchvision's; did you mean"):
    from_torchvision("lenet5", small)
  with pytest.raises(ConfigError, match="'resnet19' of torchvision's; did you mean"):
    from_torchvision("resnet19", small)


def test_files_of_older_torchvisions_convert():
  options = {"depth": 1, "features": 8, "heads": 2, "mlp_features": 16}
  tensors = state_dict("vit_b_32", **options)
  old = {
    name.replace(".mlp.0.", ".mlp.linear_1.").replace(".mlp.3.", ".mlp.linear_2."): array
    for name, array in tensors.items()
  }
  assert old.keys() != tensors.keys()
  first, second = (from_torchvision("vit_b_32", t, **options)[1] for t in (old, tensors))
  jax.tree.map(np.testing.assert_array_equal, first, second)
  options = {"blocks": (1, 1, 1, 1), "width": 0.25}
  tensors = state_dict("densenet121", **options)
  old = {
    name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
    if "denselayer" in name
    else name: a
    for name, a in tensors.items()
  }
  assert "features.denseblock1.denselayer1.norm.1.weight" in old
  first, second = (from_torchvision("densenet121", t, **options)[1] for t in (old, tensors))
  jax.tree.map(np.testing.assert_array_equal, first, second)


SIZES = "resnet101 resnext101_64x4d wide_resnet50_2 densenet169 densenet201 vit_l_32 vit_s_16"


@pytest.mark.parametrize("name", SIZES.split())
def test_sizes_without_a_fixture_have_a_name_for_every_tensor(name):
  net = create_model(name)
  key = jax.random.key(0)
  shapes = jax.eval_shape(lambda: net.init(key, jnp.zeros((1, 224, 224, 3)), train=False))
  names = [source_of(FAMILIES[family_of(name)], p).name for p in traverse_util.flatten_dict(shapes)]
  assert len(names) == len(set(names))
  assert name in convertible_models()


def test_no_family_of_the_table_is_unknown():
  assert set(FAMILIES) <= {family_of(name) for name in list_models()}


def test_safetensors_also_of_half_precision(small, tmp_path):
  path = tmp_path / "weights.safetensors"
  save_file({name: np.ascontiguousarray(a, np.float16) for name, a in small.items()}, path)
  _, variables = from_torchvision("resnet18", path, **SMALL)
  kernel = variables["params"]["head"]["kernel"]
  assert kernel.dtype == jnp.float32
  np.testing.assert_allclose(kernel, small["fc.weight"].T, atol=1e-3)
  path.write_bytes(path.read_bytes()[:1000])
  with pytest.raises(WeightsError, match="weights.safetensors' cannot be read"):
    read_tensors(path)


def test_torch_itself(small, tmp_path):
  torch = pytest.importorskip("torch")
  path = tmp_path / "weights.pth"
  torch.save({name: torch.from_numpy(array) for name, array in small.items()}, path)
  for name, array in read_tensors(path).items():
    np.testing.assert_array_equal(array, small[name])


@pytest.mark.parametrize(
  ("name", "message"),
  [("gone.pth", "does not exist"), ("weights.h5", "must end with .pth, .pt, .safetensors or .npz")],
)
def test_files_that_are_no_weights(name, message, tmp_path):
  if name == "weights.h5":
    (tmp_path / name).write_text("")
  with pytest.raises(WeightsError, match=message):
    read_tensors(tmp_path / name)
