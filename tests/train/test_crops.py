"""Evaluation over several crops against networks that are asked crop by crop."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.data import Preprocess
from cnnlab.errors import ConfigError
from cnnlab.models import create_model
from cnnlab.runs import load
from cnnlab.tasks import Classification
from cnnlab.train.loop import train
from cnnlab.train.restore import evaluate_run
from cnnlab.train.setup import with_statistics
from tests.train.conftest import tiny

TASK = Classification(tuple("abcde"))
IMAGES = np.random.default_rng(0).integers(0, 256, (2, 12, 16, 1), dtype=np.uint8)


def preprocess(crops):
  return Preprocess(
    mean=np.float32([127]),
    scale=np.float32([60]),
    stored_size=(12, 16),
    image_size=(8, 8),
    eval_crops=crops,
  )


@pytest.fixture(scope="module")
def net():
  net = create_model("convnet", features=(4,), hidden=(6,), num_classes=5, padding="same")
  return net, net.init({"params": jax.random.key(0)}, np.zeros((1, 8, 8, 1)), train=False)


@pytest.mark.parametrize("crops", ["ten", "grid3"])
def test_probabilities_are_averaged_over_crops(net, crops):
  model, variables = net
  views = preprocess(crops).eval_views(IMAGES)
  alone = [jax.nn.softmax(model.apply(variables, view, train=False)[0]) for view in views]
  batch = {"image": IMAGES, "label": np.array([1, 2])}
  returned, out = TASK.evaluate(model, variables, preprocess(crops), batch)
  np.testing.assert_allclose(jax.nn.softmax(out), np.mean(alone, axis=0), rtol=1e-5)
  np.testing.assert_array_equal(returned["label"], [1, 2])


def test_dense_evaluation_averages_over_all_positions_and_the_mirror_image():
  """Without padding the network on each crop, 2 pixels apart, gives what sliding gives."""
  model = create_model("convnet", features=(4,), hidden=(6,), num_classes=5, padding="valid")
  variables = model.init({"params": jax.random.key(0)}, np.zeros((1, 8, 8, 1)), train=False)
  whole = (IMAGES.astype(np.float32) - 127) / 60
  alone = [
    jax.nn.softmax(model.apply(variables, image[:, t : t + 8, x : x + 8], train=False)[0])
    for image in (whole, whole[:, :, ::-1])
    for t in (0, 2, 4)
    for x in (0, 2, 4, 6, 8)
  ]
  _, out = TASK.evaluate(model, variables, preprocess("dense"), {"image": IMAGES})
  np.testing.assert_allclose(jax.nn.softmax(out), np.mean(alone, axis=0), rtol=1e-5)


def test_a_network_that_is_no_classifier_is_refused():
  class Maps(nn.Module):
    def __call__(self, x, *, train):
      return x, {}

  with pytest.raises(ConfigError, match="for classifiers"):
    TASK.evaluate(Maps(), {}, preprocess("ten"), {"image": IMAGES})


def test_from_a_config_through_training_to_evaluation_and_prediction(workdir, tmp_path):
  """A run keeps the crops of its config; an evaluation may ask for others."""
  config = tiny(data__resize=12, data__image_size=8, max_steps=2, data__eval_crops="ten")
  train(config, workdir)
  own = evaluate_run(workdir)
  others = {
    crops: evaluate_run(workdir, {"data.eval_crops": crops}) for crops in ("center", "dense")
  }
  assert own["eval/count"] == others["center"]["eval/count"] == others["dense"]["eval/count"]
  found = {own["eval/cross_entropy"], *(o["eval/cross_entropy"] for o in others.values())}
  assert len(found) == 3
  from PIL import Image

  path = tmp_path / "digit.png"
  Image.fromarray(IMAGES[0, :, :12, 0]).save(path)
  assert load(workdir).predict(path).probabilities.sum() == pytest.approx(1)


def test_a_mean_image_holds_the_images_to_its_size():
  mean = np.zeros((12, 16, 1), np.float32)
  trained = dataclasses.replace(preprocess("center"), mean=mean)
  assert with_statistics(preprocess("ten"), trained).eval_crops == "ten"
  larger = dataclasses.replace(preprocess("ten"), stored_size=(14, 18))
  with pytest.raises(ConfigError, match=r"data\.resize.*mean image of \(12, 16\)"):
    with_statistics(larger, trained)
