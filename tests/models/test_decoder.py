"""What holds for every segmentation network, and how an encoder is found and built."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util
from jax.interpreters import partial_eval
from scipy import ndimage

from cnnlab import testing
from cnnlab.errors import ConfigError, ShapeError
from cnnlab.inspect import describe
from cnnlab.models import create_encoder, create_model, feature_maps, list_models, model_options
from cnnlab.models.registry import output_of, require_output
from cnnlab.nn import NORMS
from cnnlab.nn.resize import resize
from tests.models.test_every_model import FAMILIES, SMALLEST, TINY, image

LISTED = list_models(output="segmentation")
SMALL = {"width": 0.0625, "hidden": (8,), "head_features": 8, "num_classes": 7}
RESNET = {"width": 0.25, "blocks": 1}
# One of each decoder, on an encoder for small images.
DECODERS = {
  "fcn8s_resnet20": RESNET,
  "fcn_resnet20": {**RESNET, "output_stride": 2},
  "unet": {"features": (4, 6, 8), "norm": "batch"},
  "unet_resnet20": RESNET,
  "pspnet_resnet20": {**RESNET, "output_stride": 2, "bins": (1, 2)},
  "deeplabv3_resnet20": {**RESNET, "head_features": 8, "rates": (1, 2)},
}


def small(name, **options):
  """A net with `SMALL` options as far as it has them, and one block a stage."""
  known = model_options(name)
  chosen = {key: value for key, value in SMALL.items() if key in known} | options
  if isinstance(blocks := known["blocks"].default if "blocks" in known else (), tuple) and blocks:
    chosen["blocks"] = (1,) * len(blocks)
  return create_model(name, **chosen)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", LISTED)
def test_outputs_have_the_size_of_any_image(name, dtype):
  # AlexNet's windows leave nothing of a smaller image.
  size = (77, 93) if "alexnet" in name else (45, 61)
  net = small(name, dtype=dtype)
  testing.check_outputs(net, (*size, 3), 7)
  traced = testing.trace(net, (2, *size, 3))
  assert traced.out.shape == (2, *size, 7)
  for logits in traced.feats.get("auxiliary_logits", ()):
    assert (logits.shape, logits.dtype) == ((2, *size, 7), jnp.float32)


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("norm", NORMS)
def test_the_decoder_has_the_norm_of_the_encoder(name, norm):
  net = create_model(name, **{**DECODERS[name], "norm": norm})
  if norm == "instance" and name.startswith(("pspnet", "deeplab")):
    with pytest.raises(ShapeError, match="only one pixel per channel"):
      testing.check_norm(net, norm, (13, 17, 3))
    return
  testing.check_norm(net, norm, (13, 17, 3))
  testing.check_outputs(net, (13, 17, 3), net.num_classes)


@pytest.mark.parametrize("name", DECODERS)
def test_gradients_reach_every_parameter(name):
  testing.check_gradients(create_model(name, **DECODERS[name]), (9, 13, 3))


@pytest.mark.parametrize("name", DECODERS)
def test_options_fit_their_types(name):
  testing.check_options(name)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_encoder_has_the_parameters_that_its_maps_need_and_no_others(family):
  known = model_options(SMALLEST[family])
  options = {k: v for k, v in TINY.get(family, {}).items() if k in known}
  whole, encoder = (
    create_model(SMALLEST[family], **options),
    create_encoder(SMALLEST[family], **options),
  )
  x = jax.ShapeDtypeStruct((1, *image(family)), jnp.float32)

  def initial(net):
    key = jax.random.key(0)
    return jax.eval_shape(lambda x: net.init({"params": key, "dropout": key}, x, train=False), x)

  variables, kept = initial(whole), initial(encoder)
  last, maps = jax.eval_shape(lambda v, x: encoder.apply(v, x, train=False), kept, x)
  assert "pre_logits" not in maps
  assert last.shape == (1, *feature_maps(encoder, image(family))[-1].size, last.shape[3])
  traced = jax.make_jaxpr(lambda v, x: [whole.apply(v, x, train=False)[1][name] for name in maps])
  jaxpr = traced(variables, x).jaxpr
  _, used = partial_eval.dce_jaxpr(jaxpr, [True] * len(jaxpr.outvars))
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(variables)]
  needed = [path for path, needs in zip(paths, used[:-1], strict=True) if needs]
  assert [path for path, _ in jax.tree_util.tree_leaves_with_path(kept)] == needed


def test_any_decoder_and_any_classifier_make_a_name():
  assert output_of("unet_densenet121") == "segmentation"
  assert list_models("unet_densenet121") == ["unet_densenet121"]
  assert "growth_rate" in model_options("unet_densenet121")
  for name in ("unet_unet", "unet_fcn_resnet50", "unet_", "fcn9s_resnet18"):
    with pytest.raises(ConfigError, match=f"unknown model '{name}'"):
      create_model(name)


def test_options_of_the_classifier_s_own_head_are_none_of_the_net_s():
  assert {"head", "hidden", "dropout", "grid"} <= model_options("vgg16").keys()
  assert not {"head", "hidden", "dropout", "grid"} & model_options("unet_vgg16").keys()
  with pytest.raises(ConfigError, match="unknown option 'grid' of model 'unet_vgg16'"):
    create_model("unet_vgg16", grid="native")
  # FCN's own, of which there may be others by the same name in the classifier.
  assert create_model("fcn8s_vgg16", hidden=(5,)).hidden == (5,)


@pytest.mark.parametrize(
  ("name", "output"), [("unet", "classification"), ("resnet18", "segmentation")]
)
def test_a_network_for_something_else_is_refused(name, output):
  with pytest.raises(
    ConfigError, match=f"'model.name': '{name}' is a network for .* not for {output}"
  ):
    require_output(name, output)


@pytest.mark.parametrize("size", [(12, 20), (13, 7), (3, 5)])
def test_resizing_against_scipy(size):
  x = np.random.default_rng(0).normal(size=(2, 6, 5, 3)).astype(np.float32)
  zoom = (1, size[0] / 6, size[1] / 5, 1)
  expected = ndimage.zoom(x, zoom, order=1, mode="nearest", grid_mode=True)
  assert expected.shape == (2, *size, 3)
  np.testing.assert_allclose(resize(jnp.asarray(x), size), expected, atol=1e-5)


@pytest.mark.parametrize("name", ["fcn8s_resnet18", "unet_resnet18", "deeplabv3_resnet50"])
def test_sheets(name):
  net = small(name)
  sheet = describe(net, (64, 64, 3))
  variables = testing.trace(net, (1, 64, 64, 3)).variables
  leaves = traverse_util.flatten_dict(variables["params"]).values()
  assert sheet.parameters == sum(leaf.size for leaf in leaves)
  assert sheet.rows[-1].output == (64, 64, 7)
