"""R-CNN and Fast R-CNN: proposals with the data, crops against maps, and whole runs."""

import json
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import DataSettings
from cnnlab.data.opening import open_sources
from cnnlab.errors import ConfigError, DataError
from cnnlab.models.regions import region_net
from cnnlab.proposals.selective_search import selective_search
from cnnlab.tasks import create_task
from cnnlab.tasks.detection_losses import TwoStageLoss
from cnnlab.tasks.detection_targets import truth_of
from cnnlab.train import train

pytest.importorskip("skimage")
pytest.importorskip("pycocotools")

SCENES = "scenes:train=8,eval=4,height=32,width=32,boxes=true"


def test_proposals_are_made_of_the_stored_images():
  plain = open_sources(DataSettings(name=SCENES)).train
  source = open_sources(DataSettings(name=SCENES, proposals=20)).train
  assert source.features["proposals"].shape == (20, 4)
  assert source.fingerprint() != plain.fingerprint()
  (own,), (other,) = source.read([2], (24, 24), 3), plain.read([2], (24, 24), 3)
  found = selective_search(other["image"], 20)
  np.testing.assert_array_equal(own["proposals"][: len(found)], found)
  assert own["proposals_valid"].sum() == len(found)
  np.testing.assert_array_equal(own["boxes"], other["boxes"])


def test_proposals_of_a_set_without_boxes_are_an_error():
  with pytest.raises(DataError, match="data.proposals is 5, but digits has no boxes to be found"):
    open_sources(DataSettings(name="digits", proposals=5))


def network(regions, **options):
  return region_net(
    "convnet", num_classes=4, features=8, hidden=16, one_map=4, regions=regions,
    **{"padding": "valid", "kernel_size": 1, "norm": "none", "dtype": "float32", **options},
  )  # fmt: skip


def test_crops_go_through_the_trunk_as_images_do():
  """A box of the size of a crop gives what its part of the image gives, alone; padding does not matter."""
  image = jnp.asarray(np.random.default_rng(0).random((1, 64, 64, 3)), jnp.float32)
  net, mask = network("crop", padding="same", kernel_size=3), jnp.ones((1, 1), bool)
  box, whole = jnp.array([[[8.0, 16, 36, 44]]]), jnp.array([[[0.0, 0, 28, 28]]])
  variables = net.init(jax.random.key(1), image, box, mask, train=False)
  apply = jax.jit(lambda x, box: net.apply(variables, x, box, mask, train=False)[0])
  inside, alone = apply(image, box), apply(image[:, 8:36, 16:44], whole)
  np.testing.assert_allclose(inside.logits, alone.logits, atol=1e-5)
  np.testing.assert_allclose(inside.offsets, alone.offsets, atol=1e-5)
  assert inside.logits.shape == (1, 1, 4)

  def shapes(regions):
    init = partial(network(regions, padding="same", kernel_size=3).init, train=False)
    return jax.tree.map(jnp.shape, jax.eval_shape(init, jax.random.key(0), image, box, mask))

  assert shapes("align") == shapes("crop")


def test_a_crop_sees_its_box_alone_and_a_map_its_surroundings():
  image = jnp.asarray(np.random.default_rng(0).random((1, 64, 64, 3)), jnp.float32)
  boxes, valid = jnp.array([[[10, 12, 38, 40]]], jnp.float32), jnp.ones((1, 1), bool)
  changed = image.at[:, 41:, 43:].set(0)
  seen = {}
  for regions in ("align", "crop"):
    net = network(regions, padding="same", kernel_size=5, convs_per_block=2)
    variables = net.init(jax.random.key(1), image, boxes, valid, train=False)
    first, second = (
      net.apply(variables, x, boxes, valid, train=False)[0] for x in (image, changed)
    )
    seen[regions] = float(jnp.abs(first.logits - second.logits).max())
  assert seen["crop"] == 0 < seen["align"]


def test_crops_need_a_map_of_one_stride():
  image, boxes = jnp.zeros((1, 32, 32, 3)), jnp.array([[[0, 0, 9, 9]]], jnp.float32)
  net = region_net("convnet", num_classes=4, features=8, regions="crop")
  with pytest.raises(ConfigError, match=r"set model\.one_map"):
    net.init(jax.random.key(0), image, boxes, jnp.ones((1, 1), bool), train=False)


def test_the_loss_is_that_of_a_second_stage():
  source = open_sources(DataSettings(name=SCENES, proposals=12)).train
  rows = source.read(range(3), None, 3)
  batch = {name: jnp.stack([jnp.asarray(row[name]) for row in rows]) for name in rows[0]}
  batch["image"] = batch["image"] / 255.0
  task = create_task({"name": "region_detection", "proposals": 8, "box_sample": 6}, source.features)
  image, boxes, valid, select = task.inputs(batch, train=True)
  assert boxes.shape == (3, 8, 4)
  net = region_net("convnet", num_classes=11, features=8, hidden=16)
  rngs = {"params": jax.random.key(0), "sampling": jax.random.key(1)}
  (out, feats), _ = net.init_with_output(rngs, image, boxes, valid, select, train=True)
  assert out.boxes.shape == (3, 6, 4)
  total, weight = task.loss(out, feats, batch, {})
  each = TwoStageLoss(1, task.settings.beta, 1.0).of_boxes(out, truth_of(batch))
  assert float(total) == pytest.approx(float(each.sum()))
  assert weight == 3
  with pytest.raises(ConfigError, match="rpn_sample' has no effect where proposals are given"):
    create_task({"name": "region_detection", "rpn_sample": 9}, source.features).check(out, None)


def test_the_page_trains_and_its_run_predicts(tmp_path, capsys):
  """A new image has no proposals: they are made when it is predicted."""
  keys = {"max_steps": 2, "task.score_threshold": 0.01}
  row = train(apply_overrides(load_page("configs/regions.py:tiny"), keys), tmp_path / "run")
  assert row["eval/count"] == 10
  assert row["eval/map"] >= 0
  image = tmp_path / "x.png"
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(
    image
  )
  capsys.readouterr()
  assert main(["predict", f"--workdir={tmp_path / 'run'}", "--json", str(image)]) == 0
  found = json.loads(capsys.readouterr().out.splitlines()[0])["detections"]
  assert found
  assert all(5 <= one["xmin"] <= one["xmax"] <= 45 for one in found)  # of the middle square
