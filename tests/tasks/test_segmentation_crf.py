"""Segmentation with a random field: in evaluation alone, and trained with the network."""

import json

import jax
import numpy as np
import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import ConfigError
from cnnlab.runs import checkpoint
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

SMALL = {
  "model.features": (4, 4),
  "data.name": "scenes:train=16,eval=8,height=24,width=24",
  "eval_batch_size": 8,
}
FULLY = "fully_connected(position_width=4, smoothness_width=1, iterations=2, cells=16{})"


def run(workdir, crf, **overrides):
  config = apply_overrides(
    load_page("configs/scenes.py:tiny"), {**SMALL, "task.crf": crf, **overrides}
  )
  train(config, workdir)
  row = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
  return row, checkpoint.restore_variables(workdir)["params"]


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("crf") / "raw"
  return workdir, *run(workdir, "")


def test_a_fixed_field_judges_the_network_that_is_trained_without_it(raw, tmp_path):
  _, row, params = raw
  refined, same = run(tmp_path / "refined", FULLY.format(""))
  jax.tree.map(np.testing.assert_array_equal, same, params)
  assert refined["train/loss"] == row["train/loss"]
  assert refined["eval/cross_entropy"] != row["eval/cross_entropy"]


def test_a_field_is_tried_on_a_trained_network(raw):
  workdir, row, _ = raw
  assert evaluate_run(workdir)["eval/cross_entropy"] == row["eval/cross_entropy"]
  refined = evaluate_run(workdir, {"task.crf": FULLY.format("")})
  assert refined["eval/cross_entropy"] != row["eval/cross_entropy"]
  with pytest.raises(ConfigError, match="no weights for crf/appearance, crf/color_width"):
    evaluate_run(workdir, {"task.crf": FULLY.format(", learned='kernels'")})


def test_a_learned_field_starts_from_a_trained_network_and_changes(raw, tmp_path):
  workdir, _, params = raw
  _, learned = run(tmp_path / "learned", FULLY.format(", learned='all'"), init_from=str(workdir))
  field = learned.pop("crf")
  assert jax.tree.structure(learned) == jax.tree.structure(params)
  assert all(np.abs(value).max() > 0 for value in field.values()), field


@pytest.mark.parametrize(
  ("crf", "message"),
  [
    ("fully-connected", "'task.crf': cannot read 'fully-connected'; write a name"),
    ("grids", "crf 'grids'.*did you mean 'grid'"),
    ("grid(wieght=1)", "'wieght'.*did you mean 'weight'"),
    ("grid(neighbors=6)", "neighbors.*6.*4.*8"),
  ],
)
def test_what_spells_no_field_is_told_before_anything_is_written(tmp_path, crf, message):
  with pytest.raises(ConfigError, match=message):
    run(tmp_path / "run", crf)
  assert not (tmp_path / "run").exists()
