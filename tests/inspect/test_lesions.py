"""A trained run's errors without blocks, against branches that are switched off by their last norm."""

import copy

import numpy as np
import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import ConfigError
from cnnlab.experiments.lesions import curves
from cnnlab.inspect.lesions import lesion_figure, lesion_study
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.files import load_experiment
from cnnlab.models.removal import random_removals
from cnnlab.runs import load
from cnnlab.train import train
from cnnlab.train.restore import restored

BLOCKS = ("stage1_block1", "stage1_block2", "stage2_block2", "stage3_block2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """Ten steps of a residual net on digits, as the task `lesions` trains and measures it."""
  workdir = tmp_path_factory.mktemp("lesions") / "run"
  page = load_page("configs/cifar.py:tiny")
  keys = {
    "data.name": "digits",
    "data.centering": "channel",
    "data.crop_padding": 1,
    "data.flip": False,
  }
  keys |= {"model.blocks": 2, "max_steps": 10}
  keys |= {"task.name": "lesions", "task.removed": (1, 3), "task.draws": 2, "eval_batch_size": 30}
  keys |= {"optim.name": "adam", "optim.learning_rate": 0.01}
  train(apply_overrides(page, keys), workdir)
  return load(workdir)


@pytest.fixture(scope="module")
def examples(run):
  with restored(run.directory) as found:
    split = found.setup.data.eval
    return split.examples(list(range(split.num_examples)))


def error_without(run, inputs, labels, blocks):
  """A block whose last norm gives zeros is its shortcut, on which the last ReLU does nothing."""
  variables = copy.deepcopy(run.variables)
  for block in blocks:
    norm = variables["params"][block]["norm2"]
    norm |= {name: np.zeros_like(leaf) for name, leaf in norm.items()}
  out = run.model.apply(variables, inputs, train=False)[0]
  return float((np.asarray(out).argmax(-1) != labels).mean())


def test_the_run_measured_what_silent_branches_give(run, examples):
  inputs, labels = run.preprocess(list(examples["image"])), examples["label"]
  last = run.metrics.iloc[-1]
  assert last["eval/count"] % 30  # the last batch is padded
  for count, draws in zip((1, 3), random_removals(4, (1, 3), draws=2), strict=True):
    expected = np.mean(
      [error_without(run, inputs, labels, np.array(BLOCKS)[flags]) for flags in draws]
    )
    assert last[f"eval/error_without/{count}"] == pytest.approx(expected)
    assert last[f"eval/error_added/{count}"] == pytest.approx(expected - last["eval/error"])
  assert run.config.derived.metrics.error_without.per_class


def test_a_study_starts_with_the_whole_net_and_each_block(run, examples):
  images, labels = examples["image"][:70], examples["label"][:70]
  table = lesion_study(run.trained, images, labels, draws=3)
  inputs = run.preprocess(list(images))
  assert table["removed"].tolist() == [0, 1, 1, 1, 1, *[2] * 3, *[3] * 3, *[4] * 3]
  assert table["blocks"].tolist()[:5] == ["", *BLOCKS]
  for row in table.itertuples():
    assert row.error == pytest.approx(error_without(run, inputs, labels, row.blocks.split()))
  left, right = lesion_figure(table).axes
  assert [text.get_text() for text in left.get_xticklabels()] == list(BLOCKS)
  assert [bar.get_height() for bar in left.patches] == pytest.approx(100 * table["error"][1:5])
  means = right.lines[1].get_ydata()
  assert means[0] == pytest.approx(100 * table["error"][0])


def test_a_network_without_blocks_is_told(digits_run):
  with pytest.raises(ConfigError, match="no block"):
    lesion_study(load(digits_run).trained, np.zeros((1, 8, 8, 1), np.uint8), np.zeros(1, int))


def test_predictions_need_no_labels(run, examples):
  assert run.predict(list(examples["image"][:2])).probabilities.shape == (2, 10)


def test_curves_are_the_runs_metrics(run, tmp_path):
  sweep = open_sweep(load_experiment("lesions", "tiny"), tmp_path, seeds=1)
  (sweep / "plain").mkdir()
  (sweep / "plain" / "seed0").symlink_to(run.directory)
  curves.main(sweep)
  table = curves.removal_curves(sweep)
  last = run.metrics.iloc[-1]
  assert table["removed"].tolist() == [0, 1, 3]
  assert table["error"].tolist() == [
    last[f"eval/{name}"] for name in ("error", "error_without/1", "error_without/3")
  ]
  assert (sweep / "figures/error_without_blocks.csv").is_file()
