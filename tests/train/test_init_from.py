"""A run that starts from another's weights takes what fits, and says what does not."""

import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from cnnlab import runs
from cnnlab.config import apply_overrides
from cnnlab.errors import ConfigError, RunError
from cnnlab.models import create_model
from cnnlab.nn import freeze_batch_norm
from cnnlab.testing import trace
from cnnlab.train import train
from cnnlab.train.init_from import _leaves, _map, _refuse_differences, start_from
from cnnlab.train.restore import evaluate_run
from cnnlab.train.state import State
from cnnlab.weights.positions import resized
from tests.train.conftest import tiny

BATCH = {"model__norm": "batch"}


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
  directory = tmp_path_factory.mktemp("pretrained") / "run"
  train(tiny(**BATCH, max_steps=3), directory)
  return directory


def fresh(ema=False, **options):
  """The state of a network like the trained one, with options changed."""
  same = {"num_classes": 10, "features": (4, 4), "norm": "batch"}
  net = create_model("convnet", **{**same, **options})
  variables = dict(net.init(jax.random.key(7), jnp.zeros((1, 8, 8, 1)), train=False))
  params = variables.pop("params")
  copy = jax.tree.map(jnp.copy, params) if ema else {}
  return State(
    step=jnp.int32(0),
    params=params,
    model_state=variables,
    opt_state={},
    ema=copy,
    plateau={},
    metrics={},
  )


def assert_equal(first, second):
  assert jax.tree.structure(first) == jax.tree.structure(second)
  jax.tree.map(np.testing.assert_array_equal, first, second)


def test_all_weights_are_the_other_run_s_the_averaged_ones_too(pretrained):
  given = runs.load(pretrained).variables
  started = start_from(str(pretrained), fresh(ema=True))
  assert_equal(given, {"params": started.params, **started.model_state})
  assert_equal(given["params"], started.ema)


def test_training_begins_with_them_once_and_goes_on_from_checkpoints(pretrained, workdir):
  still = {"optim__learning_rate": 1e-30, "optim__weight_decay": 0.0}
  config = tiny(**BATCH, **still, init_from=str(pretrained), max_steps=2, checkpoint_every_steps=1)
  row = train(config, workdir)
  found = runs.load(workdir).variables
  assert_equal(runs.load(pretrained).variables["params"], found["params"])
  # As if it had been killed after its first step, and the other run were gone.
  shutil.rmtree(workdir / "checkpoints" / "2")
  (workdir / "status.json").unlink()
  pretrained.rename(pretrained.with_name("away"))
  try:
    assert train(config, workdir) == row
  finally:
    pretrained.with_name("away").rename(pretrained)


def test_frozen_batch_norm_finds_its_weights(pretrained):
  started = start_from(str(pretrained), fresh(norm="frozen_batch"))
  expected = freeze_batch_norm(runs.load(pretrained).variables)
  assert_equal(expected, {"params": started.params, **started.model_state})


def test_another_head_is_new_and_named(pretrained, caplog):
  before = fresh(num_classes=12)
  with caplog.at_level(logging.INFO, logger="cnnlab"):
    started = start_from(str(pretrained), before)
  given = runs.load(pretrained).variables["params"]
  assert "a new head/bias, head/kernel" in caplog.text
  assert_equal(before.params["head"], started.params["head"])
  assert_equal(given["hidden1"], started.params["hidden1"])


@pytest.mark.parametrize(
  ("options", "named"),
  [
    ({"features": (4, 6)}, r"block2_conv1/kernel \(\(3, 3, 4, 4\) there, \(3, 3, 4, 6\)"),
    ({"norm": "none"}, r"block1_conv1/bias \(None there.*block1_norm1/mean \(\(4,\) there, None"),
    ({"hidden": (128, 16)}, "hidden2/bias"),
  ],
)
def test_anything_else_that_differs_is_refused_by_name(pretrained, options, named):
  with pytest.raises(RunError, match=f"in more than its classifier.*{named}"):
    start_from(str(pretrained), fresh(**options))


def test_a_directory_without_checkpoint_is_refused(tmp_path):
  with pytest.raises(RunError, match="no checkpoint there"):
    start_from(str(tmp_path), fresh())


def test_it_is_checked_before_anything_is_written(pretrained, tmp_path):
  for init_from in (str(tmp_path), str(pretrained)):
    with pytest.raises(RunError):
      train(tiny(init_from=init_from, model__features=(4, 6)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_classifier_starts_the_encoder_of_a_larger_network(pretrained, caplog):
  plain = fresh()
  larger = plain.replace(
    params={"encoder": plain.params, "decoder": {"kernel": jnp.ones((2, 2))}},
    model_state={"batch_stats": {"encoder": plain.model_state["batch_stats"]}},
  )
  with caplog.at_level(logging.INFO, logger="cnnlab"):
    started = start_from(str(pretrained), larger)
  given = runs.load(pretrained).variables
  assert_equal(given["params"], started.params["encoder"])
  assert_equal(given["batch_stats"], started.model_state["batch_stats"]["encoder"])
  assert_equal(larger.params["decoder"], started.params["decoder"])
  assert "start encoder" in caplog.text
  assert "a new decoder/kernel" in caplog.text


def test_an_encoder_leaves_the_fully_connected_layers_of_a_vgg_behind():
  options = {"width": 0.0625, "convs": (1, 1, 1, 1, 1)}
  nets = [create_model(name, **options) for name in ("vgg11", "fcn8s_vgg11")]
  source, wanted = (_leaves(trace(net, (1, 32, 32, 3)).variables) for net in nets)
  mapped = _map(source, wanted)
  assert mapped.here == ("encoder",)
  assert len(mapped.taken) == 10
  _refuse_differences("run", mapped, source, wanted)
  # An encoder's weights start the convolutions of the whole net, whose other layers are new.
  encoder = {path: leaf for path, leaf in source.items() if path[0].startswith("conv")}
  mapped = _map(encoder, source)
  assert (mapped.here, len(mapped.taken)) == ((), 10)
  _refuse_differences("run", mapped, encoder, source)
  del source["conv5_1", "kernel"]
  with pytest.raises(RunError, match="encoder/conv5_1/kernel"):
    _refuse_differences("run", _map(source, wanted), source, wanted)


def test_nothing_that_fits_is_refused(pretrained):
  plain = fresh()
  other = plain.replace(params={"decoder": {"kernel": jnp.ones((2, 2))}}, model_state={})
  with pytest.raises(RunError, match="in more than its classifier"):
    start_from(str(pretrained), other)


def test_a_head_that_fits_is_made_anew_on_request(pretrained, caplog):
  before = fresh()
  with caplog.at_level(logging.INFO, logger="cnnlab"):
    started = start_from(str(pretrained), before, new_head=True)
  given = runs.load(pretrained).variables["params"]
  assert_equal(before.params["head"], started.params["head"])
  assert_equal(given["hidden1"], started.params["hidden1"])
  assert "a new head/bias, head/kernel" in caplog.text


def test_the_weights_own_statistics_go_with_them(pretrained, workdir):
  changed = {"data__train_examples": 100, "max_steps": 1, "seed": 1, "init_from": str(pretrained)}
  train(tiny(**BATCH, **changed, init_head="reset", init_statistics="weights"), workdir)
  found, given = (runs.load(path).trained.preprocess for path in (workdir, pretrained))
  np.testing.assert_array_equal(found.mean, given.mean)
  np.testing.assert_array_equal(found.scale, given.scale)
  train(tiny(**BATCH, **changed), workdir.with_name("other"))
  assert not np.allclose(runs.load(workdir.with_name("other")).trained.preprocess.mean, given.mean)
  before = runs.load(pretrained).variables["params"]["head"]["kernel"]
  assert not np.allclose(
    runs.load(workdir).variables["params"]["head"]["kernel"], before, atol=1e-3
  )
  # The other run is not needed for an evaluation.
  pretrained.rename(pretrained.with_name("away"))
  try:
    assert evaluate_run(workdir)["eval/count"] > 0
  finally:
    pretrained.with_name("away").rename(pretrained)


def test_keys_that_would_have_no_effect_are_refused(pretrained, workdir):
  for key, value in (("init_head", "reset"), ("init_statistics", "weights")):
    with pytest.raises(ConfigError, match=f"'{key}' has no effect without 'init_from'"):
      train(tiny(**{key: value}), workdir)
  asked = ["data.centering"]
  config = tiny(**BATCH, init_from=str(pretrained), init_statistics="weights")
  with pytest.raises(ConfigError, match=r"data\.centering"):
    train(config, workdir, asked=asked)


def test_position_embeddings_are_resized_to_other_images(tmp_path):
  small = {"depth": 1, "features": 8, "heads": 2, "mlp_features": 8, "patch_size": 4}
  first = tiny(max_steps=1)
  with first.unlocked():
    first.model = ConfigDict({"name": "vit_ti_16", **small})
  train(first, tmp_path)
  given = runs.load(tmp_path).variables["params"]
  assert given["pos_embedding"].shape == (1, 5, 8)
  net = create_model("vit_ti_16", num_classes=10, **small)
  params = net.init(jax.random.key(7), jnp.zeros((1, 16, 16, 1)), train=False)["params"]
  found = start_from(str(tmp_path), fresh().replace(params=params, model_state={})).params
  np.testing.assert_array_equal(
    found.pop("pos_embedding"), resized(given.pop("pos_embedding"), (1, 17, 8))
  )
  assert_equal(found, given)
  oblong = apply_overrides(first, {"init_from": str(tmp_path), "data.image_size": (16, 8)})
  with pytest.raises(RunError, match="pos_embedding"):
    train(oblong, tmp_path / "oblong")
