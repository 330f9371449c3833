"""Autoencoding: losses, noise that is a function of seed and step, pictures, codes and classifiers."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from sklearn.decomposition import PCA

from cnnlab import runs
from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import Preprocess
from cnnlab.errors import ConfigError
from cnnlab.runs import checkpoint
from cnnlab.tasks import Autoencoding, create_task
from cnnlab.tasks.autoencoding import Gaussian, Masking
from cnnlab.tasks.code_maps import map_figure, project
from cnnlab.train import train

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), np.uint8)
NOISE = "masking(fraction=0.3)"


def config(**more):
  overrides = {key.replace("__", "."): value for key, value in more.items()}
  return apply_overrides(load_page("configs/autoencoder.py:tiny"), overrides)


def preprocess(**more):
  options = {
    "mean": np.array([10, 20, 30], np.float32),
    "scale": np.array([50, 60, 70], np.float32),
    "stored_size": (6, 4),
    "image_size": (4, 4),
  }
  return Preprocess(**{**options, **more})


class Copy(nn.Module):
  """An autoencoder that returns its input, and a code of its means."""

  @nn.compact
  def __call__(self, x, *, train):
    """Returns the input."""
    return x, {"code": x.mean((1, 2))}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("autoencoding") / "run"
  own = config(task__noise=NOISE, max_steps=40, model__features=(8, 8), model__code=4)
  return workdir, train(own, workdir)


def test_losses_are_those_of_plain_numpy():
  rng = np.random.default_rng(0)
  out, image = rng.normal(size=(2, 3, 4, 5, 2)).astype(np.float32)
  image = 1 / (1 + np.exp(-image))
  squared = Autoencoding("squared").loss(jnp.asarray(out), {}, {"image": image}, {})
  assert float(squared.total) / squared.weight == pytest.approx(((out - image) ** 2).mean())
  entropy = Autoencoding("cross_entropy").loss(jnp.asarray(out), {}, {"image": image}, {})
  p = 1 / (1 + np.exp(-out.astype(float)))
  expected = -(image * np.log(p) + (1 - image) * np.log(1 - p)).mean()
  assert float(entropy.total) / entropy.weight == pytest.approx(expected)


def test_a_perfect_copy_has_no_error_and_the_image_s_own_pixels():
  task = Autoencoding("squared")
  batch, out = task.evaluate(Copy(), {}, preprocess(), {"image": jnp.asarray(IMAGES)})
  assert np.abs(out["mse"]).max() == 0
  np.testing.assert_array_equal(out["reconstruction"], IMAGES[:, 1:5])
  np.testing.assert_allclose(out["code"], batch["image"].mean((1, 2)), rtol=1e-6)


def test_a_copy_of_noisy_images_has_the_noise_as_its_error():
  for noise in (Gaussian(0.5), Masking(0.25)):
    task = Autoencoding("squared", noise)
    batch, out = task.evaluate(Copy(), {}, preprocess(), {"image": jnp.asarray(IMAGES)})
    assert np.abs(out["mse"]).max() == 0
    if isinstance(noise, Gaussian):
      assert out["denoising_mse"].mean() == pytest.approx(0.25, rel=0.3)
    else:
      gone = np.asarray((out["noisy"] != out["reconstruction"]).any(-1))
      np.testing.assert_array_equal(out["noisy"][gone], [[10, 20, 30]] * gone.sum())
      expected = (np.asarray(batch["image"]) ** 2 * gone[..., None]).mean((1, 2, 3))
      np.testing.assert_allclose(out["denoising_mse"], expected, rtol=1e-5)


def test_the_noise_of_an_evaluation_follows_from_the_image_alone():
  task = Autoencoding("squared", Gaussian(1.0))

  def noisy(images):
    return np.asarray(task.evaluate(Copy(), {}, preprocess(), {"image": images})[1]["noisy"])

  whole = noisy(IMAGES)
  np.testing.assert_array_equal(noisy(IMAGES[[3, 1]]), whole[[3, 1]])
  assert (noisy(np.concatenate([IMAGES[:1], IMAGES[:1] ^ 1]))[0] != whole[1]).any()


def test_masking_sets_whole_pixels_to_zero_at_its_rate():
  noisy = np.asarray(Masking(0.3)(jnp.ones((50, 40, 3)), jax.random.key(0)))
  assert set(np.unique(noisy.sum(-1))) == {0, 3}
  assert (noisy == 0).mean() == pytest.approx(0.3, abs=0.03)


def test_training_and_its_noise_are_a_function_of_seed_and_step(trained, tmp_path):
  whole, row = trained
  assert row["eval/denoising_mse"] < 1
  metrics = runs.load(whole).metrics
  assert metrics["train/loss"].dropna().iloc[-1] < metrics["train/loss"].dropna().iloc[0]
  own = config(task__noise=NOISE, max_steps=40, model__features=(8, 8), model__code=4)

  class Stop(Exception):
    pass

  def progress(step, total):
    if step == 17:
      raise Stop

  with pytest.raises(Stop):
    train(own, tmp_path / "run", progress=progress)
  assert train(own, tmp_path / "run") == row
  for a, b in zip(
    *(jax.tree.leaves(checkpoint.restore(d)["state"]) for d in (whole, tmp_path / "run")),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_a_run_is_evaluated_drawn_embedded_and_predicted(trained, tmp_path):
  workdir, row = trained
  assert {p.name for p in (workdir / "pictures/panels/eval_0").iterdir()} == {
    "0_image.png", "1_noisy.png", "2_prediction.png",
  }  # fmt: skip
  run = runs.load(workdir)
  images = np.random.default_rng(1).integers(0, 256, (3, 8, 8, 1), np.uint8)
  codes = run.embed(images, "code")
  assert codes.shape == (3, 4)
  predicted = run.predict(list(images))
  np.testing.assert_allclose([one["code"] for one in predicted], codes, rtol=1e-4, atol=1e-5)
  assert predicted[0]["reconstruction"].shape == (8, 8, 1)
  out = tmp_path / "out"
  assert main(["eval", f"--workdir={workdir}", f"--out={out}", "--config.eval_batch_size=50"]) == 0
  again = json.loads((out / "metrics.json").read_text())
  for name in ("eval/mse", "eval/denoising_mse"):
    assert again[name] == pytest.approx(row[name], rel=1e-5)
  assert {"codes.svg", "worst.png", "examples.csv"} <= {
    p.name for p in (tmp_path / "out").iterdir()
  }


def test_a_classifier_starts_from_the_encoder(trained, tmp_path):
  workdir, _ = trained
  page = load_page("configs/digits.py:tiny")
  model = {"features": (8, 8), "norm": "batch", "hidden": ()}
  overrides = {f"model.{key}": value for key, value in model.items()} | {
    "init_from": str(workdir), "optim.groups": ({"pattern": "block*", "frozen": True},),
  }  # fmt: skip
  train(apply_overrides(page, overrides), tmp_path / "run", asked=overrides)
  source, own = (checkpoint.restore(d)["state"]["params"] for d in (workdir, tmp_path / "run"))
  for name, leaves in source["encoder"].items():
    jax.tree.map(np.testing.assert_array_equal, leaves, own[name])


def test_maps_of_codes():
  rng = np.random.default_rng(0)
  codes = rng.normal(size=(90, 5)) + np.repeat(np.eye(5)[:3] * 30, 30, axis=0)
  found, expected = project(codes), PCA(2, svd_solver="full").fit_transform(codes)
  np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-6)
  labels = np.repeat(np.arange(3), 30)
  plane = project(codes, "tsne")
  distances = np.linalg.norm(plane[:, None] - plane[None], axis=-1) + 1e9 * np.eye(90)
  assert (labels[distances.argmin(1)] == labels).all()
  assert len(map_figure(codes, labels, ("a", "b", "c")).axes) == 2


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"task.loss": "cross_entropy"}, "data.centering='none'"),
    ({"task.noise": "gausian"}, "'task.noise': unknown value 'gausian'.*did you mean 'gaussian'"),
    ({"task.noise": "masking(rate=0.5)"}, "unknown argument 'rate' of masking"),
    ({"task.noise": "masking(fraction=1)"}, "masking.fraction.*allowed"),
    ({"task.noise": "1 + 1"}, "cannot read"),
    ({"model.name": "convnet"}, "is a network for classification, not for reconstruction"),
    ({"data.eval_crops": "ten", "data.resize": 12, "data.image_size": 8}, "use 'center'"),
  ],
)
def test_bad_settings_are_named(overrides, message, tmp_path):
  with pytest.raises(ConfigError, match=message):
    train(
      apply_overrides(load_page("configs/autoencoder.py:tiny"), overrides),
      tmp_path / "run",
      asked=overrides,
    )


def test_pixels_may_be_probabilities():
  task = create_task({"name": "autoencoding", "loss": "cross_entropy"}, preprocess().features)
  zeros, ones = np.zeros(3, np.float32), np.full(3, 255, np.float32)
  task.check(jax.ShapeDtypeStruct((1, 4, 4, 3), jnp.float32), preprocess(mean=zeros, scale=ones))
