"""Statistics of norms that are estimated anew, against NumPy over the same examples."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import ConfigError
from cnnlab.train import train
from cnnlab.train.norm_statistics import reestimated
from cnnlab.train.restore import evaluate_run, restored
from tests.nn.references import correlate

KEYS = {
  "model.features": (4, 4),
  "data.train_examples": 200,
  "batch_size": 30,
  "max_steps": 12,
  "optim.name": "adam",
  "optim.learning_rate": 0.01,
}


@pytest.fixture(scope="module", params=["batch", "switchable", "weight_mean_only"])
def directory(request, tmp_path_factory):
  workdir = tmp_path_factory.mktemp(request.param) / "run"
  keys = {"model.norm": request.param, "ema_decay": 0.9, **KEYS}
  train(apply_overrides(load_page("configs/digits.py:tiny"), keys), workdir)
  return workdir


def first_norm(state):
  return {
    name: np.asarray(a) for name, a in state.model_state["batch_stats"]["block1_norm1"].items()
  }


def convolved(run, params, batches):
  """What the first norm sees of the first training batches, in NumPy: neither shuffled nor shifted."""
  split = run.setup.data.train
  taken = [b["index"] for b in itertools.islice(split.train_batches(0), batches)]
  images = split.constants["image"][np.concatenate(taken)].astype(np.float64)
  preprocess = run.setup.program.preprocess
  (top, left), (height, width) = preprocess.center, preprocess.image_size
  inputs = (images[:, top : top + height, left : left + width] - preprocess.mean) / preprocess.scale
  layer = params["block1_conv1"]
  kernel = np.asarray(layer["kernel"], np.float64)
  if "scale" in layer:  # weight norm
    kernel *= layer["scale"] / np.sqrt(np.square(kernel).sum((0, 1, 2)))
  return correlate(inputs, kernel, pads=((1, 1), (1, 1))) + np.asarray(layer.get("bias", 0.0))


def test_statistics_are_those_of_all_examples_under_the_averaged_parameters(directory):
  with restored(directory) as run:
    # Averages that differ clearly from the parameters.
    state = run.state.replace(ema=jax.tree.map(lambda leaf: 1.5 * leaf, run.state.ema))
    after = first_norm(reestimated(run.setup, state, 4))
    seen = convolved(run, jax.device_get(state.ema), 4)
  np.testing.assert_allclose(after["mean"], seen.mean((0, 1, 2)), atol=1e-4)
  if "var" in after:
    # Of all examples together: not the mean of the batches' variances.
    np.testing.assert_allclose(after["var"], seen.var((0, 1, 2)), rtol=1e-4)


def test_an_epoch_is_the_most_and_nothing_else_changes(directory):
  with restored(directory) as run:
    epoch, more = (reestimated(run.setup, run.state, n) for n in (6, 1000))
    changed = run.state.replace(model_state=epoch.model_state)
  for one, other in ((epoch, more), (epoch, changed)):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
      np.testing.assert_array_equal(a, b)


def test_frozen_norms_keep_their_averages(directory):
  with restored(directory) as run:
    program = dataclasses.replace(run.setup.program, freeze=lambda path: path[0] == "block1_norm1")
    found = reestimated(dataclasses.replace(run.setup, program=program), run.state, 2)
    before = first_norm(run.state)
    for name, array in first_norm(found).items():
      np.testing.assert_array_equal(array, before[name])
    second = found.model_state["batch_stats"]["block2_norm1"]["mean"]
    assert (
      np.abs(second - run.state.model_state["batch_stats"]["block2_norm1"]["mean"]).max() > 1e-3
    )


def test_an_evaluation_on_request_and_never_otherwise(directory, capsys):
  kept, anew = evaluate_run(directory), evaluate_run(directory, reestimate=6)
  assert kept["eval/cross_entropy"] != anew["eval/cross_entropy"]
  assert evaluate_run(directory) == kept
  assert main(["eval", f"--workdir={directory}", "--reestimate=6"]) == 0
  assert json.loads(capsys.readouterr().out.splitlines()[-1]) == anew
  assert main(["eval", f"--workdir={directory}", "--reestimate=0"]) == 2
  assert "1 batch or more" in capsys.readouterr().err


def test_a_network_without_averages_is_told(digits_run):
  with pytest.raises(ConfigError, match="no norm"):
    evaluate_run(digits_run, reestimate=2)
  with restored(digits_run) as run, pytest.raises(ConfigError, match="1 and more"):
    reestimated(run.setup, run.state, 0)
