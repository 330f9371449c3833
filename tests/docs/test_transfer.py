"""The commands of docs/transfer.md train what the page says, on a small net and small images."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from flax import traverse_util
from PIL import Image

from cnnlab import runs
from cnnlab.cli.main import main
from cnnlab.nn import freeze_batch_norm

PAGE = Path(__file__).parents[2] / "docs" / "transfer.md"
FENCE = re.compile(r"```(bash|python)\n(.*?)```", re.DOTALL)
SMALLER = {"resnet50": "resnet20", "=224": "=16", "=256": "=18"}
TINY = ("--config.model.blocks=1", "--config.model.filters=(4,4,8)", "--config.batch_size=6")
TINY += (
  "--config.max_steps=2",
  "--config.schedule.warmup_epochs=0",
  "--config.optim.learning_rate=0.2",
)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
  """Does what the page says in an empty folder; returns the variables of its runs and its names."""
  folder = tmp_path_factory.mktemp("transfer")
  rng = np.random.default_rng(0)
  for split, kind in ((s, k) for s in ("train", "val") for k in ("RBC", "WBC")):
    (folder / "cells" / split / kind).mkdir(parents=True)
    for i in range(8):
      image = rng.integers(0, 200, (20, 18, 3), np.uint8) + 55 * np.uint8(kind == "WBC")
      Image.fromarray(image).save(folder / "cells" / split / kind / f"{i}.png")
  names = {}
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    source = ["train", "--config=folder:cells", "--workdir=runs/resnet20", *TINY]
    sizes = ["--config.data.image_size=16", "--config.data.resize=18"]
    assert main([*source, *sizes, "--config.model.name=resnet20"]) == 0
    for language, code in FENCE.findall(PAGE.read_text()):
      for large, small in SMALLER.items():
        code = code.replace(large, small)
      if language == "python":
        exec(compile(code, str(PAGE), "exec"), names)
        continue
      for command in code.replace("\\\n", "").strip().splitlines():
        program, verb, *arguments = shlex.split(command)
        assert program == "cnnlab"
        arguments += TINY if verb == "train" else ["--values=1"]
        assert main([verb, *arguments]) == 0, command
    found = {path.name: runs.load(path) for path in Path("runs").iterdir()}
    return {name: (run.variables, run.trained.preprocess) for name, run in found.items()}, names


def moved(before, after):
  """Returns {path: largest change} of a tree of arrays."""
  flat = [traverse_util.flatten_dict(tree, sep="/") for tree in (before, after)]
  return {path: float(np.abs(flat[1][path] - flat[0][path]).max()) for path in flat[0]}


def test_a_frozen_network_keeps_all_but_its_head(followed):
  found, _ = followed
  given, statistics = found["resnet20"]
  variables, preprocess = found["frozen"]
  changes = moved(given, variables)
  assert {path for path, change in changes.items() if change} == {
    "params/head/kernel",
    "params/head/bias",
  }
  np.testing.assert_array_equal(preprocess.mean, statistics.mean)
  probe = found["probe"][0]
  encoder = {name: tree["encoder"] for name, tree in probe.items()}
  without_head = {**given, "params": {k: v for k, v in given["params"].items() if k != "head"}}
  assert not any(moved(without_head, encoder).values())
  assert probe["params"]["head"]["kernel"].shape == (2 * 2 * 4, 2)


def test_fine_tuning_moves_pretrained_layers_less(followed):
  found, _ = followed
  changes = moved(found["resnet20"][0], found["tuned"][0])
  assert all(change for path, change in changes.items() if path.endswith(("kernel", "mean")))
  assert changes["params/conv1/kernel"] < 0.1 * changes["params/head/kernel"]


def test_the_upper_layers_alone(followed):
  found, _ = followed
  changes = moved(found["resnet20"][0], found["upper"][0])
  lower = [
    change
    for path, change in changes.items()
    if path.split("/")[1] < "stage3" and "head" not in path
  ]
  assert lower
  assert not any(lower)
  assert changes["params/stage3_block1/conv1/kernel"] > 0
  assert changes["batch_stats/stage3_block1/norm1/mean"] > 0


def test_statistics_that_stay(followed):
  found, _ = followed
  changes = moved(freeze_batch_norm(found["resnet20"][0]), found["statistics"][0])
  assert all(
    bool(change) == path.endswith(("kernel", "head/bias")) for path, change in changes.items()
  )


def test_codes_in_a_notebook_and_a_table(followed):
  _, names = followed
  assert names["codes"].train.codes.shape == (16, 8)
  assert 0 <= names["score"].eval_error <= 1
