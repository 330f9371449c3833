"""Metric learning: what a run keeps, names of parameters, predictions, and bad settings."""

import json

import jax
import numpy as np
import pytest

from cnnlab import runs, testing
from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import CnnlabError
from cnnlab.models import create_model
from cnnlab.runs import checkpoint
from cnnlab.tasks import create_task
from cnnlab.tasks.base import FeatureSpec
from cnnlab.tasks.metric_learning import EmbeddingNet
from cnnlab.train import train

OVERRIDES = {"max_steps": 30, "log_every_steps": 10, "data.images_per_class": 4}


def config(overrides):
  return apply_overrides(load_page("configs/omniglot.py:tiny"), overrides)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("metric_learning") / "run"
  return workdir, train(config(OVERRIDES), workdir, asked=OVERRIDES)


def test_it_learns_and_keeps_its_metrics(trained):
  workdir, row = trained
  losses = runs.load(workdir).metrics["train/loss"].dropna()
  assert losses.iloc[-1] < losses.iloc[0]
  assert row["eval/auc"] > 0.7
  assert 0 < row["eval/eer"] < 0.4
  assert {"eval/accuracy", "eval/pixel_accuracy", "eval/pixel_eer", "eval/threshold"} <= row.keys()
  derived = json.loads((workdir / "config.json").read_text())["derived"]
  assert derived["main_metric"] == ["eval/accuracy", "max"]


def test_it_resumes_bit_for_bit(trained, tmp_path):
  class Stop(Exception):
    pass

  def progress(step, total):
    if step == 13:
      raise Stop

  with pytest.raises(Stop):
    train(config(OVERRIDES), tmp_path / "run", progress=progress)
  assert train(config(OVERRIDES), tmp_path / "run") == trained[1]
  for a, b in zip(
    *(jax.tree.leaves(checkpoint.restore(d)["state"]) for d in (trained[0], tmp_path / "run")),
    strict=True,
  ):
    np.testing.assert_array_equal(a, b)


def test_it_is_evaluated_otherwise_and_drawn(trained, tmp_path, capsys):
  out = tmp_path / "out"
  arguments = [f"--workdir={trained[0]}", f"--out={out}", "--config.task.shots=5"]
  assert main(["eval", *arguments]) == 0
  assert {"roc.svg", "embeddings.svg"} <= {path.name for path in out.iterdir()}
  metrics = json.loads((out / "metrics.json").read_text())
  assert metrics["eval/eer"] == pytest.approx(trained[1]["eval/eer"], rel=1e-4)
  assert metrics["eval/accuracy"] != trained[1]["eval/accuracy"]
  capsys.readouterr()


def test_images_are_compared_by_their_distance(trained):
  images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
  run = runs.load(trained[0])
  found = run.predict([*images, images[0]])
  np.testing.assert_allclose(np.linalg.norm(found.embeddings, axis=1), 1, rtol=1e-5)
  np.testing.assert_allclose(run.embed(images, "embedding"), found.embeddings[:3], atol=1e-5)
  apart = found.distances.to_numpy()
  assert apart[0, 3] == pytest.approx(0, abs=1e-5)
  assert apart[0, 1] == pytest.approx(np.linalg.norm(found.embeddings[0] - found.embeddings[1]))
  assert len(found) == 4


@pytest.mark.parametrize(("embedding", "numbers"), [("codes", 16), ("output", 7), ("pixels", 192)])
def test_parameters_have_the_names_of_the_classifier(embedding, numbers):
  net = create_model("resnet20", width=0.25, blocks=1, num_classes=7)
  own = testing.trace(EmbeddingNet(net, True, embedding), (2, 8, 8, 3))
  assert own.variables == testing.trace(net, (2, 8, 8, 3)).variables
  assert own.out.shape == (2, numbers)
  assert own.feats["output"].shape == (2, 7)


def test_a_classifier_s_codes_are_trained_by_cross_entropy():
  class Label:
    kind, names = "label", tuple("abcdefg")

  settings = {"name": "metric_learning", "loss": "softmax"}
  features: dict[str, FeatureSpec] = {"label": Label(), "image": type("I", (), {"kind": "image"})()}
  task = create_task(settings, features)
  logits = np.random.default_rng(0).normal(size=(4, 7)).astype(np.float32)
  labels = np.array([0, 6, 2, 2])
  loss = task.loss(np.zeros((4, 3)), {"output": logits}, {"label": labels}, {})
  expected = np.log(np.exp(logits).sum(1)) - logits[np.arange(4), labels]
  assert float(loss.total) / loss.weight == pytest.approx(expected.mean(), rel=1e-5)
  assert task.network({"name": "convnet"}, "float32").net.num_classes == 7


def test_pixels_are_judged_as_they_are(tmp_path):
  overrides = {**OVERRIDES, "max_steps": 1, "task.loss": "pixels", "task.normalize": False}
  row = train(config(overrides), tmp_path / "run", asked=overrides)
  assert row["eval/accuracy"] == row["eval/pixel_accuracy"] > 0.5
  assert row["eval/eer"] == row["eval/pixel_eer"]


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"task.loss": "tripet"}, "unknown value 'tripet'.*did you mean 'triplet'"),
    ({"task.loss": "triplet(mining=semihard)"}, "cannot read"),
    ({"task.loss": "triplet(mining='semihard')"}, "semi_hard"),
    ({"task.loss": "contrastive(margin=0)"}, "contrastive.margin"),
    ({"model.num_classes": 3}, "'task.dimensions'"),
    ({"model.name": "unet"}, "not for classification"),
    ({"data.mix": ("mixup(alpha=0.2)",)}, "'data.mix'"),
    ({"data.name": "scenes:train=16,eval=8,height=24,width=24"}, "needs a feature 'label'"),
    ({"data.images_per_class": 3}, "multiple"),
  ],
)
def test_bad_settings_are_named_before_anything_is_written(overrides, message, tmp_path):
  with pytest.raises(CnnlabError, match=message):
    train(config({"data.images_per_class": 0, **overrides}), tmp_path / "run", asked=overrides)
  assert not (tmp_path / "run").exists()
