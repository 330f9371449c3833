"""Localisation: its target, its two-part loss and its metrics against loops; and whole runs."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from PIL import Image

from cnnlab.boxes import encode
from cnnlab.boxes.coding import BOX_HEAD
from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import Feature, View
from cnnlab.errors import ConfigError, DataError
from cnnlab.models.localiser import Localised
from cnnlab.tasks import create_task
from cnnlab.tasks.localisation import WHOLE, target_of
from cnnlab.tasks.localisation_analysis import iou_figure
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

NAMES, SIZE, MOST = ("a", "b", "c"), (20, 40), 4
FEATURES = {
  "image": Feature("image", (*SIZE, 3), "uint8"),
  "boxes": Feature("boxes", (MOST, 4), "float32"),
  "box_labels": Feature("vector", (MOST,), "int32", NAMES),
}


def task(**settings):
  return create_task({"name": "localisation", **settings}, FEATURES)


def batch(count=12, seed=0):
  """Images with up to four boxes; that of index 5 has none."""
  random = np.random.default_rng(seed)
  low = random.uniform(0, 0.6, (count, MOST, 2))
  high = low + random.uniform(0.1, 0.4, (count, MOST, 2))
  valid = random.random((count, MOST)) < 0.6
  valid[:, 0] = True
  valid[5] = False
  return {
    "image": jnp.zeros((count, *SIZE, 3)),
    "boxes": jnp.asarray(np.concatenate([low, high], -1) * [*SIZE, *SIZE], jnp.float32),
    "boxes_valid": jnp.asarray(valid),
    "box_labels": jnp.asarray(random.integers(0, 3, (count, MOST)), jnp.int32),
  }


def output(given, seed=1):
  """Boxes near the true ones, and logits of any class."""
  random = np.random.default_rng(seed)
  box = np.asarray(target_of(given).box) + random.normal(size=(len(given["image"]), 4)) * 0.07
  offsets = encode(jnp.asarray(box, jnp.float32), jnp.asarray(WHOLE), BOX_HEAD)
  logits = random.normal(size=(len(box), 3)).astype(np.float32)
  return Localised(jnp.asarray(logits), offsets), np.clip(box, 0, 1)


def largest(given, i, crowd=()):
  """Returns label and box, in fractions, of the largest counted box, by a loop."""
  best = None
  for j in range(MOST):
    top, left, bottom, right = map(float, given["boxes"][i, j])
    if given["boxes_valid"][i, j] and (i, j) not in crowd:
      area = (bottom - top) * (right - left)
      if best is None or area > best[0]:
        box = (top / SIZE[0], left / SIZE[1], bottom / SIZE[0], right / SIZE[1])
        best = area, int(given["box_labels"][i, j]), box
  return None if best is None else best[1:]


def loop_iou(a, b):
  height = min(a[2], b[2]) - max(a[0], b[0])
  width = min(a[3], b[3]) - max(a[1], b[1])
  shared = max(0.0, height) * max(0.0, width)
  union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - shared
  return shared / union


def test_the_target_is_the_largest_object_that_counts():
  given = batch()
  crowd = {(i, int(np.argmax(given["boxes_valid"][i]))) for i in range(3)}
  marks = np.zeros((12, MOST), bool)
  for place in crowd:
    marks[place] = True
  for one, marked in ((given, ()), (given | {"box_crowd": jnp.asarray(marks)}, crowd)):
    target = target_of(one)
    for i in range(12):
      wanted = largest(given, i, marked)
      assert bool(target.present[i]) == (wanted is not None)
      if wanted is not None:
        assert int(target.label[i]) == wanted[0]
        np.testing.assert_allclose(target.box[i], wanted[1], rtol=1e-6)


def test_the_loss_has_two_parts_and_is_a_mean_over_images_with_an_object():
  given = batch()
  out, _ = output(given)
  classes, boxes = [], []
  for i in range(12):
    wanted = largest(given, i)
    if wanted is None:
      continue
    label, (top, left, bottom, right) = wanted
    classes.append(-scipy.special.log_softmax(np.asarray(out.logits[i], float))[label])
    offsets = (
      10 * ((left + right) / 2 - 0.5), 10 * ((top + bottom) / 2 - 0.5),
      5 * np.log(right - left), 5 * np.log(bottom - top),
    )  # fmt: skip
    distances = np.abs(np.asarray(out.offsets[i], float) - offsets)
    boxes.append(sum(0.5 * d * d if d < 1 else d - 0.5 for d in distances))
  for weight in (0.0, 1.0, 2.5):
    total, count = task(box_weight=weight).loss(out, {}, given, {})
    assert count == 11
    assert float(total) == pytest.approx(sum(classes) + weight * sum(boxes), rel=1e-4)
  nothing = given | {"boxes_valid": jnp.zeros((12, MOST), bool)}
  total, count = task().loss(out, {}, nothing, {})
  assert float(total) == 0
  assert 0 < count < 1e-3


def test_metrics_are_those_of_a_loop():
  given = batch(count=40, seed=3)
  out, boxes = output(given)
  mask = jnp.asarray(np.arange(40) < 37, jnp.float32)
  one = task()
  found = one.summarize(one.metric_sums(out, given, mask))
  overlaps, right, both = [], [], []
  for i in range(37):
    wanted = largest(given, i)
    if wanted is not None:
      overlaps.append(loop_iou(boxes[i], wanted[1]))
      right.append(int(np.argmax(out.logits[i])) == wanted[0])
      both.append(right[-1] and overlaps[-1] > 0.5)
  assert found["count"] == 37
  assert found["mean_iou"] == pytest.approx(np.mean(overlaps), rel=1e-4)
  assert found["located"] == pytest.approx(np.mean(np.array(overlaps) > 0.5))
  assert found["top1"] == pytest.approx(np.mean(right))
  assert found["both_right"] == pytest.approx(np.mean(both))
  assert found["localisation_error"] == pytest.approx(1 - np.mean(both))
  assert 0 < np.mean(both) < np.mean(right) < 1
  rows = jax.device_get(one.example_metrics(out, given))
  assert np.isnan(rows["localisation_error"]).tolist() == [i == 5 for i in range(40)]
  assert np.nanmean(rows["localisation_error"][:37]) == pytest.approx(1 - np.mean(both))
  analysis = one.analyze(rows)
  assert len(analysis.examples) == 39
  kinds = analysis.tables["kinds"].frame.set_index("kind")["examples"]
  assert kinds.sum() == 39
  assert analysis.summary["mistakes"] == f"{39 - kinds['class and box right']} of 39"
  assert analysis.tables["per_class"].frame["examples"].sum() == 39
  iou_figure(rows["iou"], 0.5)


def test_what_is_not_finite_is_wrong():
  given = batch()
  out, _ = output(given)
  rows = task().example_metrics(out._replace(offsets=out.offsets.at[0, 0].set(jnp.nan)), given)
  assert float(rows["localisation_error"][0]) == 1
  assert float(rows["iou"][0]) == 0


def test_predictions_are_in_pixels_of_the_original_image():
  one = task()
  prediction = {
    "probabilities": np.array([0.1, 0.7, 0.2], np.float32),
    "box": np.array([0.25, 0, 0.75, 0.5], np.float32),
  }
  # The network saw the middle square of an image of 100x200 pixels.
  restored = one.restore(prediction, View((100, 200), (0, 50, 100, 150)))
  np.testing.assert_allclose(restored["box"], [25, 50, 75, 100])
  assert one.to_json(restored) == {
    "probabilities": pytest.approx({"a": 0.1, "b": 0.7, "c": 0.2}),
    "box": {"ymin": 25, "xmin": 50, "ymax": 75, "xmax": 100},
  }
  assert one.describe(restored, 2) == ["b 70.0% at (50, 25) to (100, 75)", "c 20.0%"]
  table = one.results(["x.png"], [restored])
  assert table.iloc[0].tolist() == ["x.png", "b", pytest.approx(0.7), 25, 50, 75, 100]
  drawn = one.draw(np.zeros((100, 200, 3), np.uint8), restored)
  times = drawn.shape[0] // 100
  rows, columns = np.nonzero(drawn.any(-1))
  assert (rows.max() + 1, columns.max() + 1) == pytest.approx((75 * times, 100 * times), abs=2)


def test_settings_and_data_that_do_not_fit_are_named():
  with pytest.raises(ConfigError, match="num_classes': the data have 3 classes"):
    task().network({"name": "resnet20", "num_classes": 5}, "float32")
  with pytest.raises(ConfigError, match="classification"):
    task().network({"name": "unet"}, "float32")
  with pytest.raises(ConfigError, match="unknown option"):
    task().network({"name": "resnet20", "hiden": 5}, "float32")
  with pytest.raises(DataError, match="needs a feature 'boxes' of kind 'boxes'"):
    create_task({"name": "localisation"}, {"image": FEATURES["image"]})
  nameless = Feature("vector", (MOST,), "int32")
  with pytest.raises(DataError, match="has no class names"):
    create_task({"name": "localisation"}, FEATURES | {"box_labels": nameless})


def test_eight_scenes_are_learned_by_heart_and_the_run_is_whole(tmp_path, capsys):
  keys = {
    "data.name": "scenes:train=8,eval=8,height=24,width=24,most=1,low=0.4,clutter=2,boxes=true",
    "model.features": (8, 16), "model.convs_per_block": 1, "model.hidden": 64,
    "batch_size": 8, "eval_batch_size": 8, "max_steps": 150, "log_every_steps": 50, "epochs": 150.0,
    "eval_every_epochs": 0.0, "checkpoint_every_epochs": 0.0, "eval_trainset": True,
    "optim.name": "adam", "optim.learning_rate": 0.003, "optim.weight_decay": 0.0,
  }  # fmt: skip
  run = tmp_path / "run"
  row = train(apply_overrides(load_page("configs/localisation.py:tiny"), keys), run)
  assert row["trainset/localisation_error"] == 0
  assert row["trainset/mean_iou"] > 0.8
  assert row["eval/count"] == 8
  assert (run / "pictures" / "eval_0.png").is_file()
  again = evaluate_run(run)
  assert again["eval/mean_iou"] == pytest.approx(row["eval/mean_iou"], abs=1e-6)

  image = tmp_path / "wide.png"
  Image.fromarray(np.zeros((30, 60, 3), np.uint8)).save(image)
  capsys.readouterr()
  assert (
    main(["predict", f"--workdir={run}", "--json", f"--draw={tmp_path / 'p'}", str(image)]) == 0
  )
  found = json.loads(capsys.readouterr().out.splitlines()[0])
  assert sum(found["probabilities"].values()) == pytest.approx(1, abs=1e-5)
  assert 15 <= found["box"]["xmin"] < found["box"]["xmax"] <= 45  # of the middle square
  assert (tmp_path / "p" / "wide.png").is_file()
