"""Every page can be loaded, and trains two steps in its tiny form."""

import pathlib

import pytest

from cnnlab.config import OPEN_SECTIONS, apply_overrides, flatten, load_page
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.train import train

PAGES = sorted(
  p.stem
  for p in (pathlib.Path(__file__).parents[2] / "configs").glob("*.py")
  if p.stem != "__init__"
)


@pytest.mark.parametrize("page", PAGES)
def test_a_page_sets_known_keys_only_and_says_how_to_run_it(page):
  config = load_page(f"configs/{page}.py")
  keys, known = set(flatten(config)), set(flatten(default_config()))
  open_sections = tuple(f"{section}." for section in OPEN_SECTIONS)
  assert all(key.startswith(open_sections) for key in keys ^ known)
  text = (pathlib.Path(__file__).parents[2] / "configs" / f"{page}.py").read_text()
  assert f"--config=configs/{page}.py" in text, "the docstring shows the command"


def test_cifar_trains_on_the_real_set(shared, tmp_path):
  overrides = {"data.dir": str(shared / "data" / "tfds")}
  row = train(apply_overrides(load_page("configs/cifar.py:tiny"), overrides), tmp_path / "run")
  assert row["step"] == 2
  assert row["eval/count"] == 100


def test_camvid_trains_on_the_real_set(shared, tmp_path):
  overrides = {"data.dir": str(shared / "data" / "tfds")}
  row = train(apply_overrides(load_page("configs/camvid.py:tiny"), overrides), tmp_path / "run")
  assert row["step"] == 2
  assert row["eval/count"] == 8
  assert "eval/iou/void" not in row
  assert "eval/iou/bicyclist" in row


def test_scenes_train_without_a_download(tmp_path):
  row = train(load_page("configs/scenes.py:tiny"), tmp_path / "run")
  assert row["step"] == 2
  assert row["eval/count"] == 10


def test_a_folder_of_ones_own_trains_streamed(shared, tmp_path):
  page = load_page(f"configs/folder.py:{shared / 'data' / 'imagefolder_bccd_cells'}")
  overrides = {
    "max_steps": 2, "log_every_steps": 1, "model.blocks": 1, "data.placement": "stream",
    "schedule.warmup_epochs": 0.0, "data.resize": 24, "data.image_size": 20,
  }  # fmt: skip
  row = train(apply_overrides(page, overrides), tmp_path / "run", asked=overrides)
  assert row["step"] == 2
  assert row["eval/count"] == 180


def test_cifar_without_its_data_says_how_to_get_it(tmp_path):
  overrides = {"data.dir": str(tmp_path / "nowhere")}
  config = apply_overrides(load_page("configs/cifar.py:tiny"), overrides)
  with pytest.raises(Exception, match="download_and_prepare") as caught:
    train(config, tmp_path / "run")
  assert not isinstance(caught.value, ConfigError)
  assert "cnnlab itself never downloads" in str(caught.value)
