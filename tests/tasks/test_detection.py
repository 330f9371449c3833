"""The detection task: settings, predictions, pictures; whole runs that overfit and resume bit for bit."""

import json
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import Feature, View
from cnnlab.errors import ConfigError, DataError
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import Dense
from cnnlab.runs import checkpoint, load
from cnnlab.tasks import create_task
from cnnlab.tasks.detection import Evaluated
from cnnlab.tasks.detection_decode import Detections
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

NAMES = ("cat", "dog")
FEATURES = {
  "image": Feature("image", (60, 80, 3), "uint8"),
  "boxes": Feature("boxes", (4, 4), "float32"),
  "box_labels": Feature("vector", (4,), "int32", NAMES),
}
BOXES = np.array([[10, 20, 30, 40], [0, 0, 8, 8], [5, 5, 9, 9]], np.float32)


def task(features=FEATURES, **settings):
  return create_task({"name": "detection", **settings}, features)


def evaluated():
  found = Detections(
    BOXES[None], np.array([[0.9, 0.6, 0.0]]), np.array([[2, 1, 0]]), np.array([[True, True, False]])
  )
  return Evaluated(found, np.array([[60, 80]]))


def test_predictions_come_back_in_pixels_of_the_image():
  one = task(shown_score=0.7)
  found = {name: np.asarray(a)[0] for name, a in one.predict(evaluated()).items()}
  # The network saw the middle of an image of twice its size, 120x200.
  restored = one.restore(found, View((120, 200), (0.0, 20.0, 120.0, 180.0)))
  np.testing.assert_allclose(restored["boxes"], [[20, 60, 60, 100], [0, 20, 16, 36]])
  assert one.to_json(restored)["detections"][0] == {
    "class": "dog", "score": 0.9, "ymin": 20.0, "xmin": 60.0, "ymax": 60.0, "xmax": 100.0,
  }  # fmt: skip
  json.dumps(one.to_json(restored))
  assert one.describe(restored, 5) == ["dog 90% at 60, 20"]
  assert task(shown_score=0.95).describe(restored, 5) == ["nothing"]
  table = one.results(["a.png", "b.png"], [restored, {k: v[:0] for k, v in restored.items()}])
  assert table["image"].tolist() == ["a.png", "a.png"]
  assert table["class"].tolist() == ["dog", "cat"]


def test_pictures_show_boxes_that_are_sure():
  one = task(shown_score=0.7)
  image = np.zeros((60, 80, 1), np.uint8)
  found = {name: np.asarray(a)[0] for name, a in one.predict(evaluated()).items()}
  example = {
    "image": image,
    "boxes": np.concatenate([BOXES, BOXES[:1]]),
    "boxes_valid": np.array([True, False, False, False]),
    "box_labels": np.array([1, 0, 0, 0]),
  }
  panels = one.panels(example, found)
  assert list(panels) == ["truth", "prediction"]
  truth, picture = panels.values()
  assert truth.shape == picture.shape == (240, 320, 3)  # four times as large
  border = picture[41:119, 80]
  assert (border == border[0]).all()
  assert border[0].any()
  assert not picture[45:115, 85:155].any(), "the inside stays as it is"
  assert not picture[:30, :30].any(), "a box of a low score is not drawn"
  large = one.draw(
    np.zeros((300, 400, 3), np.uint8), one.restore(found, View((60, 80), (0, 0, 60, 80)))
  )
  assert large.shape == (300, 400, 3)


@pytest.mark.parametrize(
  ("settings", "error", "message"),
  [
    ({"size_limits": (96.0, 32.0)}, ConfigError, r"task\.size_limits' is \(96\.0, 32\.0\)"),
    ({"alpha": 2.0}, ConfigError, r"task\.alpha' is 2\.0; allowed"),
    ({"detections": 0}, ConfigError, r"task\.detections' is 0"),
  ],
)
def test_settings_that_make_no_sense_are_named(settings, error, message):
  with pytest.raises(error, match=message):
    task(**settings)


def test_data_without_boxes_or_names_are_named():
  with pytest.raises(
    DataError, match="needs a feature 'boxes' of kind 'boxes'; the data set has im"
  ):
    task({"image": FEATURES["image"]})
  unnamed = {**FEATURES, "box_labels": Feature("vector", (4,), "int32")}
  with pytest.raises(DataError, match="'box_labels' of the data set has no class names"):
    task(unnamed)


def test_networks_and_settings_that_do_not_fit_are_named():
  with pytest.raises(
    ConfigError, match="'resnet20' is a network for classification, not for detec"
  ):
    task().network({"name": "resnet20"}, "float32")
  with pytest.raises(ConfigError, match="is 2; the data have 2 classes, which makes 3"):
    task().network({"name": "retinanet_resnet20", "num_classes": 2}, "float32")
  assert task().network({"name": "retinanet_resnet20"}, "float32").num_classes == 3
  one = Dense((), (), ())
  two = TwoStage(one, *[jnp.zeros(1)] * 4)
  task(gamma=1.0).check(one, None)
  task(box_sample=8).check(two, None)
  with pytest.raises(ConfigError, match="task.gamma' has no effect on a detector with two stages"):
    task(gamma=1.0).check(two, None)
  with pytest.raises(ConfigError, match="task.box_sample' has no effect on a detector with one st"):
    task(box_sample=8).check(one, None)
  with pytest.raises(ConfigError, match=r"no detector's output .* such as retinanet_resnet18"):
    task().check(jnp.zeros((1, 3)), None)


def test_a_missing_library_is_named_before_training(monkeypatch):
  monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
  with pytest.raises(ConfigError, match=r"pip install 'cnnlab\[detection\]'"):
    task().check(Dense((), (), ()), None)


EIGHT = "scenes:train=8,eval=2,height=32,width=32,most=2,low=0.4,high=0.6,boxes=True"
SMALL = {
  "data.name": EIGHT,
  "batch_size": 8,
  "eval_batch_size": 8,
  "eval_trainset": True,
  "eval_every_epochs": 0.0,
  "checkpoint_every_epochs": 0.0,
  "log_every_steps": 50,
  "model.blocks": (1, 1, 1, 1),
  "model.features": 32,
  "schedule.warmup_epochs": 0.0,
}


@pytest.mark.slow
@pytest.mark.parametrize(
  ("form", "more"),
  [
    ("digits", {"max_steps": 150}),
    ("digits_fasterrcnn", {"max_steps": 150, "model.hidden": 64, "task.box_sample": 16}),
  ],
)
def test_a_detector_learns_eight_scenes_by_heart(form, more, tmp_path):
  overrides = {**SMALL, "epochs": 150.0, "optim.learning_rate": 0.003, **more}
  page = apply_overrides(load_page(f"configs/bccd.py:{form}"), overrides)
  row = train(page, tmp_path / "run", asked=overrides)
  assert row["trainset/map"] > 0.8
  assert row["trainset/map50"] > 0.95


TINY = {"max_steps": 6, "checkpoint_every_steps": 2, "data.flip": True}
FASTER = {
  "model.name": "fasterrcnn_resnet18", "model.hidden": 8, "model.train_proposals": 20,
  "model.proposals": 10, "task.box_sample": 8, "task.rpn_sample": 16,
}  # fmt: skip


def tiny(family):
  page = load_page("configs/bccd.py:tiny")
  if family == "fasterrcnn":
    del page.model["depth"]
  # Cross-entropy of a sample of anchors, so that RetinaNet draws at random, too.
  more = FASTER if family == "fasterrcnn" else {"task.gamma": 0.0, "task.anchor_sample": 32}
  return apply_overrides(page, {**TINY, **more})


@pytest.fixture(scope="module", params=["retinanet", "fasterrcnn"])
def trained(request, tmp_path_factory):
  workdir = tmp_path_factory.mktemp("detection") / "run"
  return request.param, workdir, train(tiny(request.param), workdir)


@pytest.mark.slow
def test_it_resumes_bit_for_bit(trained, tmp_path):
  family, whole, row = trained

  class Stop(Exception):
    pass

  def progress(step, total):
    if step == 3:
      raise Stop

  with pytest.raises(Stop):
    train(tiny(family), tmp_path / "run", progress=progress)
  assert train(tiny(family), tmp_path / "run") == row
  states = (checkpoint.restore(d)["state"] for d in (whole, tmp_path / "run"))
  for a, b in zip(*map(jax.tree.leaves, states), strict=True):
    np.testing.assert_array_equal(a, b)


def test_a_run_keeps_scores_examples_and_pictures(trained):
  _, workdir, row = trained
  derived = json.loads((workdir / "config.json").read_text())["derived"]
  assert derived["main_metric"] == ["eval/map", "max"]
  assert row["eval/count"] == 10
  assert 0 <= row["eval/map"] <= row["eval/map50"] <= 1
  assert load(workdir).examples["true_boxes"].shape == (10, 3, 4)
  panels = sorted(p.name for p in (workdir / "pictures/panels/eval_0").iterdir())
  assert panels == ["0_truth.png", "1_prediction.png"]
  again = evaluate_run(workdir)
  assert again["eval/map"] == pytest.approx(row["eval/map"], abs=1e-6)


def test_it_is_evaluated_predicts_and_draws(trained, tmp_path, capsys):
  _, workdir, _ = trained
  assert main(["eval", f"--workdir={workdir}", "--per_class", f"--out={tmp_path / 'eval'}"]) == 0
  written = {path.name for path in (tmp_path / "eval").iterdir()}
  assert {"per_class.csv", "sizes.csv", "curves.csv", "curves.svg", "examples.csv"} <= written
  pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  capsys.readouterr()
  arguments = [
    f"--workdir={workdir}",
    "--json",
    f"--draw={tmp_path / 'drawn'}",
    str(tmp_path / "a.png"),
  ]
  assert main(["predict", *arguments]) == 0
  assert "detections" in json.loads(capsys.readouterr().out.splitlines()[0])
  with Image.open(tmp_path / "drawn/a.png") as picture:
    assert picture.size == (70 * 5, 50 * 5)
