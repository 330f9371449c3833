"""Linear probes: the classifier sees one map of the encoder, averaged over regions, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.models import create_model, list_models, model_options
from cnnlab.models.probe import codes
from cnnlab.testing import trace

SMALL = {"blocks": 1, "filters": (4, 8, 16), "num_classes": 3}


def test_the_logits_are_linear_in_the_regions_of_the_map():
  net = create_model("probe_resnet20", stage="stage2", grid=2, **SMALL)
  x = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
  variables = net.init(jax.random.key(1), x, train=False)
  logits, feats = net.apply(variables, x, train=False)
  encoder = {name: tree["encoder"] for name, tree in variables.items()}
  stage = net.encoder.clone(parent=None, name=None).apply(encoder, x, train=False)[1]["stage2"]
  cells = np.asarray(stage).reshape(2, 2, 4, 2, 4, 8).mean((2, 4)).reshape(2, 32)
  head = variables["params"]["head"]
  np.testing.assert_allclose(logits, cells @ head["kernel"] + head["bias"], atol=1e-5)
  assert list(feats)[-1] == "pre_logits"


def test_layers_behind_the_map_get_no_gradient():
  net = create_model("probe_resnet20", stage="stage1", **SMALL)
  x = jax.random.normal(jax.random.key(0), (2, 16, 16, 3))
  variables = net.init(jax.random.key(1), x, train=False)

  def loss(params):
    return jnp.sum(net.apply({**variables, "params": params}, x, train=False)[0] ** 2)

  found = jax.grad(loss)(variables["params"])["encoder"]
  assert np.abs(found["conv1"]["kernel"]).max() > 0
  assert np.abs(found["stage2_block1"]["conv1"]["kernel"]).max() == 0


def test_the_last_map_is_what_the_whole_classifier_sees():
  plain, probe = (create_model(name, **SMALL) for name in ("resnet20", "probe_resnet20"))
  shapes = [trace(net, (1, 16, 16, 3)).variables["params"] for net in (plain, probe)]
  assert shapes[0].pop("head") == shapes[1].pop("head")
  assert shapes[0] == shapes[1]["encoder"]


def test_vectors_tokens_and_whole_maps_become_codes():
  stage = jnp.arange(24.0).reshape(1, 2, 3, 4)
  np.testing.assert_array_equal(codes(stage, 0), jnp.arange(24.0)[None])
  np.testing.assert_array_equal(codes(stage, 1), stage.mean((1, 2)))
  np.testing.assert_array_equal(codes(stage[0], 1), stage[0].mean(1))
  np.testing.assert_array_equal(codes(stage[0, 0], 5), stage[0, 0])
  for wrong, grid, most in ((stage, 3, 2), (stage[0], 2, 1)):
    with pytest.raises(ConfigError, match=rf"grid is {grid}, .* allowed: 0 to {most}"):
      codes(wrong, grid)


def test_options_and_what_is_refused():
  assert {"stage", "grid", "blocks", "norm"} <= set(model_options("probe_resnet20"))
  assert list_models("probe_vgg11") == ["probe_vgg11"]
  with pytest.raises(ConfigError, match=r"'stage' of a probe.*did you mean 'stage"):
    trace(create_model("probe_resnet20", stage="stage4", **SMALL), (1, 16, 16, 3))
  with pytest.raises(ConfigError, match="unknown model 'probe_unet_resnet18'"):
    create_model("probe_unet_resnet18")
