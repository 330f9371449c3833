"""SegNet and DeconvNet: sizes, switches, and how much they learn on scenes of digits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.nn import NORMS, count_parameters, max_pool_with_switches, max_unpool

TINY = {"width": 0.0625, "num_classes": 5}


def shapes(name, size=(24, 24), train=False, **options):
  net = create_model(name, **{**TINY, **options})
  x = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=train), x)


@pytest.mark.parametrize("name", ["segnet", "segnet_basic", "deconvnet"])
@pytest.mark.parametrize("size", [(32, 64), (37, 50), (5, 9)])
def test_outputs_have_the_images_size(name, size):
  (logits, feats), _ = shapes(name, size)
  assert logits.shape == (2, *size, 5)
  assert logits.dtype == jnp.float32
  rows, columns = size
  for stage in range(1, 5):
    rows, columns = -(-rows // 2), -(-columns // 2)
    assert feats[f"stage{stage}"].shape[1:3] == (rows, columns)


def layers(*channels, window=3):
  """Parameters of convolutions with bias and batch norm."""
  return sum(window**2 * a * b + 3 * b for a, b in itertools.pairwise(channels))


def test_parameters_are_those_of_the_published_layers():
  down = 3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512
  up = 512, 512, 512, 512, 512, 512, 256, 256, 256, 128, 128, 64
  expected = {
    # 29.5 million
    "segnet": layers(*down) + layers(*up, 64) + 9 * 64 * 21 + 21,
    "segnet_basic": layers(3, *[64] * 8, window=7) + 64 * 21 + 21,
    # 252 million
    "deconvnet": layers(*down)
    + layers(512, 4096, window=7)
    + layers(4096, 4096, window=1)
    + layers(4096, 512, window=7)
    + layers(*up, 64, 64)
    + 64 * 21
    + 21,
  }
  found = {
    name: count_parameters(shapes(name, width=1.0, num_classes=21)[1]["params"])
    for name in expected
  }
  assert found == expected
  assert found["segnet"] == pytest.approx(29.5e6, abs=0.05e6)
  assert found["deconvnet"] == pytest.approx(252e6, abs=0.5e6)


@pytest.mark.parametrize("norm", NORMS)
def test_norms_replace_each_other(norm):
  _, variables = shapes("segnet", norm=norm, convs=(1, 1), features=(64, 64), train=True)
  names = {name for module in variables["params"].values() for name in module}
  assert "conv1_1" in names
  assert ("batch_stats" in variables) == (
    norm in ("batch", "frozen_batch", "switchable", "weight_mean_only")
  )
  unit = variables["params"]["encoder"]["conv1_1"]
  # As in VGG, a convolution keeps its bias beside batch norm.
  assert ("bias" in unit) == (norm in ("batch", "frozen_batch", "weight", "lrn", "none"))


def test_the_encoder_has_vggs_names_and_shapes():
  vgg = create_model("vgg16_bn", head="avgpool")
  x = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)
  params = jax.eval_shape(lambda x: vgg.init(jax.random.key(0), x, train=False), x)["params"]
  own = shapes("segnet", (32, 32), width=1.0)[1]["params"]["encoder"]
  assert own == {name: value for name, value in params.items() if name != "head"}


def test_the_decoder_places_values_where_the_maxima_were():
  """A net of one stage is convolution, pooling, unpooling by its switches, and the head."""
  net = create_model(
    "segnet", convs=(1,), features=(6,), norm="none", num_classes=3, pointwise_head=True
  )
  x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
  variables = net.init(jax.random.key(1), x, train=False)
  logits, feats = net.apply(variables, x, train=False)
  params = variables["params"]

  def conv(x, layer):
    window = (x, layer["kernel"], (1, 1), "SAME")
    return (
      jax.lax.conv_general_dilated(*window, dimension_numbers=("NHWC", "HWIO", "NHWC"))
      + (layer["bias"])
    )

  maps = jax.nn.relu(conv(x, params["encoder"]["conv1_1"]))
  pooled, switches = max_pool_with_switches(maps, 2, fit="pad")
  np.testing.assert_allclose(feats["stage1"], pooled, atol=1e-5)
  decoded = jax.nn.relu(conv(max_unpool(pooled, switches, (9, 8)), params["conv1_1"]))
  np.testing.assert_allclose(logits, conv(decoded, params["head"]), atol=1e-4)


def test_wrong_options_are_refused():
  with pytest.raises(ConfigError, match="differ in their number of stages"):
    shapes("segnet", convs=(1, 1))
  with pytest.raises(ConfigError, match="kernel_size=4 must be odd"):
    shapes("segnet", kernel_size=4)


@pytest.mark.parametrize(
  ("name", "options"),
  [("segnet", {"convs": (1, 1), "features": (12, 12)}), ("deconvnet", {"hidden": (64,)})],
)
def test_nets_learn_to_tell_pixels_apart(name, options):
  """Which half of each image is brighter, up to the edge between them."""
  rng = np.random.default_rng(0)
  labels = np.zeros((8, 13, 12), np.int32)
  for label, edge in zip(labels, rng.integers(3, 9, 8), strict=True):
    label[:, edge:] = 1
  images = labels[..., None] + 0.3 * rng.normal(size=(8, 13, 12, 3))
  small = {"convs": (1, 1), "features": (12, 12), "width": 1.0, "num_classes": 2, **options}
  net = create_model(name, **small)
  x = jnp.asarray(images, jnp.float32)
  variables = net.init(jax.random.key(0), x, train=False)
  optimizer = optax.adam(0.01)

  @jax.jit
  def step(params, stats, state):
    def loss(params):
      everything = {"params": params, "batch_stats": stats}
      (out, _), kept = net.apply(everything, x, train=True, mutable=["batch_stats"])
      losses = optax.softmax_cross_entropy_with_integer_labels(out, labels)
      return losses.mean(), (kept["batch_stats"], (out.argmax(-1) == labels).mean())

    (_, (stats, right)), gradient = jax.value_and_grad(loss, has_aux=True)(params)
    updates, state = optimizer.update(gradient, state)
    return optax.apply_updates(params, updates), stats, state, right

  params, stats = variables["params"], variables["batch_stats"]
  state = optimizer.init(params)
  for _ in range(60):
    params, stats, state, right = step(params, stats, state)
  assert right > 0.95
