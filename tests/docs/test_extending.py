"""docs/extending.md is followed from an empty folder: its files are written, its snippets executed."""

import importlib
import importlib.util
import re
import runpy
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnlab import data
from cnnlab.cli.main import main
from cnnlab.data import opening
from cnnlab.data.transforms import TRANSFORMS
from cnnlab.launch.sweep import LAUNCHERS
from cnnlab.models import registry
from cnnlab.nn import ACTIVATIONS, NORMS
from cnnlab.runs import load
from cnnlab.tasks import TASKS

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
# A fence, and the name of the file that it is where the line before says so.
FENCE = re.compile(
  r"(?:`(?P<file>[\w/]+\.py)`:\n\n)?```(?P<language>\w+)\n(?P<code>.*?)```", re.DOTALL
)
TABLES = (
  opening._registered,
  registry._registered,
  NORMS,
  ACTIVATIONS,
  TRANSFORMS,
  TASKS,
  LAUNCHERS,
)
OPTIONAL = ("datasets", "torchvision")


@pytest.fixture(scope="module", autouse=True)
def empty_folder(tmp_path_factory):
  """The current directory; what is registered and imported is forgotten at the end."""
  folder = tmp_path_factory.mktemp("empty")
  before, loaded, path = [dict(table) for table in TABLES], set(sys.modules), list(sys.path)
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    sys.path.insert(0, str(folder))
    yield folder
  sys.path[:] = path
  for name in [n for n in set(sys.modules) - loaded if n.startswith(("my_", "test_my"))]:
    del sys.modules[name]
  for table, old in zip(TABLES, before, strict=True):
    table.clear()
    table.update(old)


@pytest.fixture(scope="module")
def followed(empty_folder):
  """Does what the page says, in its order; returns the names that its snippets have defined."""
  names, skipped = {}, []
  for fence in FENCE.finditer(PAGE.read_text()):
    file, language, code = fence["file"], fence["language"], fence["code"]
    missing = [name for name in OPTIONAL if f"import {name}" in code and not _installed(name)]
    if missing:
      skipped += missing
    elif file:
      Path(file).parent.mkdir(exist_ok=True)
      Path(file).write_text(code)
    elif language == "python":
      exec(compile(code, str(PAGE), "exec"), names)
    else:
      assert language == "bash"
      for command in code.strip().splitlines():
        program, *arguments = shlex.split(command)
        assert program == "cnnlab"
        assert main(arguments) == 0, command
  return names, skipped


def _installed(name):
  return importlib.util.find_spec(name) is not None


def test_every_snippet_of_the_page_runs(followed, empty_folder):
  names, _ = followed
  assert names["row"]["eval/count"] == 48
  assert names["logits"].shape == (5, 2)
  assert list(names["feats"]) == ["stage1", "stage2", "pre_logits"]
  outcomes = names["done"].result.outcomes
  assert {outcome.status for outcome in outcomes.values()} == {"done"}
  assert set(outcomes) == {"norm=rms/seed0", "norm=batch/seed0"}
  config = load("runs/page").config
  assert tuple(config.imports) == ("my_data", "my_net", "my_transform", "my_task")
  assert config.derived.imports[1] == str(empty_folder / "my_net.py")


def test_the_test_of_the_model_passes(followed, monkeypatch):
  monkeypatch.setattr("cnnlab.testing.NORMS", ("batch", "rms"))  # the others take ten traces
  runpy.run_path("test_my_net.py")["test_my_net"]()


class Rows(list):
  """In place of a data set of Hugging Face or PyTorch, where these are not installed."""


@pytest.mark.parametrize("kind", ["Items", "Pairs"])
@pytest.mark.parametrize("placement", ["device", "stream"])
def test_the_sources_of_the_page_give_every_image_with_its_label(followed, kind, placement):
  my_source = importlib.import_module("my_source")
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
  labels = (np.arange(12) % 3).tolist()
  pictures = [Image.fromarray(image) for image in images]
  rows = {
    "Items": [{"image": p, "label": n} for p, n in zip(pictures, labels, strict=True)],
    "Pairs": list(zip(pictures, labels, strict=True)),
  }[kind]
  source = getattr(my_source, kind)("mine", Rows(rows), labels, ("a", "b", "c"))
  data.register_source(f"{kind}_{placement}", (source, source))
  settings = data.DataSettings(
    name=f"{kind}_{placement}", image_size=(6, 5), placement=placement, workers=0
  )
  found = data.load(settings, seed=0, batch_size=4, eval_batch_size=4)
  seen = [found.eval.gather(found.eval.constants, batch) for batch in found.eval.eval_batches()]
  np.testing.assert_array_equal(np.concatenate([batch["image"] for batch in seen]), images)
  assert np.concatenate([batch["label"] for batch in seen]).tolist() == labels
  assert found.class_names == ("a", "b", "c")


@pytest.mark.parametrize("name", OPTIONAL)
def test_the_libraries_themselves_where_they_are_installed(followed, name):
  if name in followed[1]:
    pytest.skip(f"{name} is not installed")
  source = {"datasets": "hugging_face", "torchvision": "torchvision"}[name]
  settings = data.DataSettings(name=source, image_size=12)
  found = data.load(settings, seed=0, batch_size=4, eval_batch_size=4)
  assert found.train.num_examples + found.eval.num_examples == len(opening._registered[source])
