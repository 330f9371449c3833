"""`cnnlab look` at blocks that can be missed and at layers that are reused."""

import numpy as np
import pandas as pd
import pytest

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.train import train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("residual") / "run"
  keys = {"data.name": "digits", "data.centering": "channel", "data.crop_padding": 1}
  keys |= {"data.flip": False, "model.width": 0.25, "model.blocks": 1, "max_steps": 1}
  train(apply_overrides(load_page("configs/cifar.py:tiny"), keys), workdir)
  return workdir


def test_lesions_are_counted_on_the_split(run, tmp_path):
  out = tmp_path / "new"
  arguments = [f"--workdir={run}", "--what=lesions", "--examples=30", f"--out={out}"]
  assert main(["look", *arguments]) == 0
  assert sorted(path.name for path in out.iterdir()) == [
    "lesions.csv",
    "lesions.png",
    "lesions.svg",
  ]
  table = pd.read_csv(out / "lesions.csv", keep_default_na=False)
  assert table["blocks"].tolist() == ["", "stage1_block1"]
  mistakes = 30 * table["error"]
  np.testing.assert_allclose(mistakes, mistakes.round(), atol=1e-9)


@pytest.mark.parametrize(
  ("what", "words"), [("lesions", "no block"), ("feature_reuse", "DenseNet")]
)
def test_other_networks_are_refused(what, words, digits_run, tmp_path, capsys):
  arguments = [f"--workdir={digits_run}", f"--what={what}", f"--out={tmp_path / 'new'}"]
  assert main(["look", *arguments]) == 2
  assert words in capsys.readouterr().err
  assert not (tmp_path / "new").exists()


def test_reuse_is_read_off_the_weights(tmp_path):
  workdir = tmp_path / "run"
  keys = {
    "model.blocks": (2, 2),
    "model.growth_rate": 4,
    "max_steps": 2,
    "data.train_examples": 128,
  }
  keys |= {"schedule.warmup_epochs": 0.0}
  page = load_page("configs/digits.py")
  page.model = {"name": "densenet_bc40_12"}
  train(apply_overrides(page, keys), workdir)
  assert (
    main(["look", f"--workdir={workdir}", "--what=feature_reuse", f"--out={tmp_path / 'new'}"]) == 0
  )
  table = pd.read_csv(tmp_path / "new" / "feature_reuse.csv")
  assert len(table) == 2 * (1 + 2 + 3)
  assert (table["weight"] > 0).all()
