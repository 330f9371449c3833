"""The segmentation task: labels, weights of classes, loss and scores, pictures; and one whole run."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from PIL import Image
from sklearn.utils.class_weight import compute_class_weight

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import Feature, Preprocess, View
from cnnlab.errors import ConfigError, DataError
from cnnlab.tasks import create_task
from cnnlab.tasks.segmentation import balanced_weights
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

RNG = np.random.default_rng(0)
NAMES = ("sky", "void", "road", "car")
FEATURES = {
  "image": Feature("image", (6, 8, 3), "uint8"),
  "map": Feature("label_map", (6, 8), "uint8", NAMES),
}
MAPS = RNG.integers(0, 4, (4, 6, 8)).astype(np.uint8)
MAPS[0, :2] = 255
BATCH = {"map": jnp.asarray(MAPS)}
LOGITS = RNG.normal(size=(4, 6, 8, 3)).astype(np.float32)
COUNTED = (MAPS != 255) & (MAPS != 1)


def task(features=FEATURES, **settings):
  return create_task({"name": "segmentation", "ignored": ("void",), **settings}, features)


def test_ignored_classes_leave_no_gap():
  one = task()
  assert (one.target, one.class_names) == ("map", ("sky", "road", "car"))
  want = np.select([MAPS == 0, MAPS == 2, MAPS == 3], [0, 1, 2], -1)
  np.testing.assert_array_equal(one.labels(BATCH), want)
  assert one.network({"name": "unet"}, "float32").num_classes == 3


def test_the_loss_is_a_mean_over_labelled_pixels_of_the_whole_batch():
  one = task(gamma=2.0, class_weights=(1.0, 2.0, 0.5), auxiliary_weight=0.3)
  feats = {"auxiliary_logits": (jnp.asarray(-LOGITS),)}
  total, weight = one.loss(LOGITS, feats, BATCH, {})
  assert weight == COUNTED.sum()
  labels = np.asarray(one.labels(BATCH))[COUNTED]

  def losses(logits):
    p = scipy.special.softmax(logits, -1)[COUNTED][np.arange(len(labels)), labels]
    return (-np.array([1.0, 2.0, 0.5])[labels] * (1 - p) ** 2 * np.log(p)).sum()

  assert float(total) == pytest.approx(losses(LOGITS) + 0.3 * losses(-LOGITS), rel=1e-4)
  halves = [
    one.loss(
      LOGITS[h], {"auxiliary_logits": (feats["auxiliary_logits"][0][h],)}, {"map": MAPS[h]}, {}
    )
    for h in (slice(0, 1), slice(1, 4))
  ]
  assert float(sum(h.total for h in halves)) == pytest.approx(float(total), rel=1e-5)
  assert float(sum(h.weight for h in halves)) == float(weight)


def test_dice_weighs_images_by_their_labelled_pixels_and_shares_the_loss():
  alone, none, half = (
    float(task(dice=dice).loss(LOGITS, {}, BATCH, {}).total) for dice in (1.0, 0.0, 0.25)
  )
  assert half == pytest.approx(0.25 * alone + 0.75 * none, rel=1e-5)
  each = [
    float(task(dice=1.0).loss(LOGITS[i : i + 1], {}, {"map": MAPS[i : i + 1]}, {}).total)
    for i in range(4)
  ]
  assert alone == pytest.approx(sum(each), rel=1e-5)
  assert all(total <= pixels for total, pixels in zip(each, COUNTED.sum((1, 2)), strict=True))


def test_a_batch_without_labels_has_no_loss_and_no_gradient():
  empty = {"map": jnp.full((1, 6, 8), 255, jnp.uint8)}

  def mean(logits):
    total, weight = task(gamma=0.5, dice=0.5).loss(logits, {}, empty, {})
    return total / weight

  value, gradient = jax.value_and_grad(mean)(LOGITS[:1])
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)


def test_inverse_weights_are_scikit_learns_balanced_ones():
  flat = MAPS[COUNTED]
  counts = np.stack([[(m == c).sum() for c in range(4)] for m in MAPS])
  one = task(class_weights="inverse")
  fitted = one.fitted(lambda name: {"map": counts}[name])
  want = compute_class_weight("balanced", classes=np.array([0, 2, 3]), y=flat)
  np.testing.assert_allclose(fitted.weights, want)
  assert fitted.derived["class_weights"] == pytest.approx(
    dict(zip(one.class_names, want, strict=True))
  )
  total, weight = fitted.loss(np.zeros_like(LOGITS), {}, BATCH, {})
  assert float(total / weight) == pytest.approx(np.log(3), rel=1e-5), "their mean over pixels is 1"
  assert task().fitted(None).weights == ()


def test_median_weights_are_those_of_a_loop():
  counts = np.array([[10, 0, 5, 0], [20, 1, 0, 0], [30, 1, 2, 0]])
  frequency = []
  for index in range(3):
    having = [row for row in counts if row[index]]
    frequency.append(sum(row[index] for row in having) / sum(row.sum() for row in having))
  want = [np.median(frequency) / f for f in frequency]
  np.testing.assert_allclose(balanced_weights(counts, median=True), [*want, 0])
  with pytest.raises(DataError, match="no training image has a labelled pixel"):
    balanced_weights(np.zeros((2, 3), int), median=False)


def test_scores_count_each_pixel_once_whatever_the_batches():
  one, perfect = task(), np.eye(3, dtype=np.float32)[np.asarray(task().labels(BATCH))] * 20
  whole = one.summarize(one.metric_sums(LOGITS, BATCH, jnp.ones(4)))
  assert whole["pixel_accuracy"] == pytest.approx(
    (LOGITS.argmax(-1) == np.asarray(one.labels(BATCH)))[COUNTED].mean()
  )
  padded = {"map": jnp.concatenate([BATCH["map"][2:], BATCH["map"][:2]])}
  parts = [
    one.metric_sums(LOGITS[:2], {"map": MAPS[:2]}, jnp.ones(2)),
    one.metric_sums(np.concatenate([LOGITS[2:], LOGITS[:2]]), padded, jnp.array([1.0, 1, 0, 0])),
  ]
  summed = one.summarize(jax.tree.map(jnp.add, *parts))
  assert summed.pop("iou") == pytest.approx(whole.pop("iou"))
  assert summed == pytest.approx(whole, rel=1e-6)
  best = one.summarize(one.metric_sums(perfect, BATCH, jnp.ones(4)))
  assert (best["miou"], best["pixel_accuracy"], best["count"]) == (1.0, 1.0, 4)


def test_scores_that_are_not_finite_do_not_pass_for_scores():
  bad = np.where(np.arange(3) == 0, np.nan, LOGITS)
  assert np.isnan(task().summarize(task().metric_sums(bad, BATCH, jnp.ones(4)))["cross_entropy"])


def test_a_prediction_comes_back_in_the_size_of_the_image():
  one = task()
  out = np.full((1, 4, 4, 3), -5.0, np.float32)
  out[0, :, :2, 1] = out[0, :, 2:, 2] = 5.0
  found = {name: np.asarray(a)[0] for name, a in one.predict(out).items()}
  restored = one.restore(found, View((20, 24), (0.0, 2.0, 20.0, 22.0)))
  classes = restored["classes"]
  assert classes.shape == (20, 24)
  assert set(np.unique(classes[:, :2])) == set(np.unique(classes[:, 22:])) == {255}
  assert (classes[:, 2:12] == 1).all()
  assert (classes[:, 12:22] == 2).all()
  assert one.describe(restored, 1) == ["road 41.7%"]
  assert one.to_json(restored) == {
    "shares": pytest.approx({"sky": 0, "road": 5 / 12, "car": 5 / 12})
  }
  picture = one.draw(np.zeros((20, 24, 1), np.uint8), restored)
  assert picture[:, :2].max() == 0 or (picture[:20, :2] == 0).all()
  assert (picture[:20, 2:12] == picture[0, 2]).all()
  assert picture.shape[0] > 20, "the legend is below the image, which keeps its size"


@pytest.mark.parametrize(
  ("settings", "error", "message"),
  [
    (
      {"ignored": ("viod",)},
      ConfigError,
      "task.ignored': unknown class 'viod'; did you mean 'void'",
    ),
    ({"ignored": NAMES[:3]}, ConfigError, "leaves 1 of the classes"),
    ({"class_weights": (1.0, 2.0)}, ConfigError, "has 2 numbers; allowed: one for each of the 3"),
    ({"class_weights": (0.0, 0.0, 0.0)}, ConfigError, "all are 0"),
    ({"class_weights": "medain"}, ConfigError, r"task\.class_weights' is 'medain'; allowed"),
    ({"gamma": -1.0}, ConfigError, r"task\.gamma' is -1"),
    ({"labels": "mpa"}, DataError, "unknown label map 'mpa'; did you mean 'map'"),
  ],
)
def test_settings_that_make_no_sense_are_named(settings, error, message):
  with pytest.raises(error, match=message):
    task(**settings)


def test_data_without_a_label_map_and_with_two_are_named():
  label = Feature("label", (), "int32", NAMES)
  with pytest.raises(DataError, match=r"needs one label map.*has image \(image\), label \(label\)"):
    task({"image": FEATURES["image"], "label": label})
  two = {**FEATURES, "other": FEATURES["map"]}
  with pytest.raises(DataError, match="'task.labels' chooses"):
    task(two)
  assert task(two, labels="other").target == "other"


def test_a_network_that_returns_something_else_is_refused():
  p = Preprocess(np.zeros(3), np.ones(3), (6, 8), (6, 8))
  task().check(jax.ShapeDtypeStruct((1, 6, 8, 3), jnp.float32), p)
  for shape in ((1, 3), (1, 3, 4, 3), (1, 6, 8, 4)):
    with pytest.raises(ConfigError, match="one that returns logits for each pixel, .1, 6, 8, 3"):
      task().check(jax.ShapeDtypeStruct(shape, jnp.float32), p)


OVERRIDES = {"task.class_weights": "median", "eval_trainset": True, "max_steps": 4}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("segmentation") / "run"
  page = apply_overrides(load_page("configs/scenes.py:tiny"), OVERRIDES)
  return workdir, train(page, workdir, asked=OVERRIDES)


def test_a_run_keeps_its_weights_scores_and_pictures(trained):
  workdir, row = trained
  derived = json.loads((workdir / "config.json").read_text())["derived"]
  assert len(derived["class_weights"]) == 11
  assert derived["main_metric"] == ["eval/miou", "max"]
  each = [row[f"eval/iou/{name}"] for name in ("background", *"0123456789")]
  assert row["eval/miou"] == pytest.approx(np.mean([iou for iou in each if iou is not None]))
  assert row["eval/absent_classes"] == each.count(None)
  assert 0 <= row["trainset/boundary_f"] <= 1
  panels = sorted(p.name for p in (workdir / "pictures/panels/eval_0").iterdir())
  assert panels == ["0_image.png", "1_truth.png", "2_prediction.png", "3_classes.png"]
  with Image.open(workdir / "pictures/eval_0.png") as strip:
    assert strip.width > 3 * 120


def test_it_is_evaluated_again_at_other_scales(trained):
  workdir, row = trained
  own = evaluate_run(workdir)
  assert own["eval/miou"] == row["eval/miou"]
  overrides = {"data.eval_crops": "dense", "data.eval_scales": (0.75, 1.0, 1.25)}
  several = evaluate_run(workdir, overrides)
  assert several["eval/cross_entropy"] != own["eval/cross_entropy"]
  assert several["eval/count"] == 10


def test_it_predicts_and_draws_in_the_size_of_the_image(trained, tmp_path, capsys):
  workdir, _ = trained
  pixels = RNG.integers(0, 256, (50, 70, 3), dtype=np.uint8)
  Image.fromarray(pixels).save(tmp_path / "a.png")
  drawn = tmp_path / "drawn"
  assert main(["predict", f"--workdir={workdir}", f"--draw={drawn}", str(tmp_path / "a.png")]) == 0
  assert "%" in capsys.readouterr().out
  with Image.open(drawn / "a.png") as picture:
    found = np.asarray(picture)
  assert found.shape[0] > 50
  # The scene is square: 10 pixels at the left and right are not seen, and stay as they are.
  np.testing.assert_array_equal(found[:50, :10], pixels[:, :10])
  assert (found[:50, 10:60] != pixels[:, 10:60]).any()


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"model.name": "resnet20"}, "'resnet20' is a network for classification, not for segment"),
    ({"model.num_classes": 12}, "'model.num_classes' is 12; the data have 11"),
    (
      {"data.eval_crops": "grid2", "data.resize": 24, "data.image_size": 8},
      "crops of 8x8 leave pixels of an image of 24x24 unseen",
    ),
  ],
)
def test_what_does_not_fit_is_told_before_anything_is_written(tmp_path, overrides, message):
  page = load_page("configs/scenes.py:tiny")
  if "model.name" in overrides:
    del page.model["features"], page.model["norm"], page.model["dropout"]
  with pytest.raises(ConfigError, match=message):
    train(apply_overrides(page, overrides), tmp_path / "run")
  assert not (tmp_path / "run").exists()
