"""Overrides that change nothing: their variants are named, and give the same curves bit for bit."""

import dataclasses
import io
import json

import pytest
from rich.console import Console

from cnnlab.cli.main import main
from cnnlab.lab.cost import rate_of_runs
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan
from cnnlab.lab.wiring import examine, unwired
from cnnlab.launch.sweep import Launcher
from cnnlab.launch.sweep import sweep as run_sweep
from tests.conftest import keep_compiled

STRIDE = {"model.downsample": "stride"}
VARIANTS = {
  "stride": STRIDE,
  "window3": {**STRIDE, "model.pool_window": 3},  # for the pooling that a strided net does not have
  "max": {"model.downsample": "max"},
  "window3_max": {"model.downsample": "max", "model.pool_window": 3, "model.pool_fit": "pad"},
}


@pytest.fixture
def experiment():
  toy = load_experiment("downsampling_digits", "tiny")
  changes = {"variants": VARIANTS, "base": "stride", "claims": (), "seeds": (0, 1)}
  return dataclasses.replace(toy, **changes)


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory, monkeypatch):
  """A cache that holds no results, only compiled programs and the native library."""
  empty = tmp_path_factory.mktemp("cache")
  keep_compiled(empty)
  monkeypatch.setenv("CNNLAB_CACHE", str(empty))


def fingerprints(experiment, variants):
  experiment = dataclasses.replace(experiment, variants=variants, base=next(iter(variants)))
  found = examine(plan(experiment, "nowhere"), workers=0)
  assert [one.error for one in found] == [""] * len(variants)
  return {one.label: one.fingerprint for one in found}


def test_an_override_without_effect_is_named_and_gives_bit_identical_curves(experiment, tmp_path):
  specs = plan(experiment, tmp_path)
  (group,) = unwired(examine(specs, workers=0), specs)
  assert group.labels == ("stride", "window3")
  assert group.knobs == {"model.pool_window": ["unset", 3]}
  assert str(group) == (
    "'stride', 'window3' would train identically; these overrides have no effect: "
    "model.pool_window = 'unset', 3"
  )
  silent = Console(file=io.StringIO())
  only = {"only": "stride window3 max", "seeds": 1, "launcher": Launcher(workers=1)}
  assert run_sweep(experiment, tmp_path, console=silent, **only).result.exit_code == 0
  curves = {
    label: (tmp_path / experiment.name / label / "seed0" / "metrics.jsonl").read_bytes()
    for label in ("stride", "window3", "max")
  }
  assert curves["stride"] == curves["window3"]
  assert curves["stride"] != curves["max"]
  assert b"eval/error" in curves["stride"]


@pytest.mark.parametrize(
  "override",
  [
    {"optim.learning_rate": 0.051},
    {"schedule.final_factor": 0.01},
    {"optim.weight_decay": 2e-4},
    {"task.label_smoothing": 0.1},
    {"data.train_examples": 1000},
    {"data.eval_examples": 100},
    {"data.centering": "image"},
    {"data.scale": "unit"},
    {"data.crop_padding": 2},
    {"data.flip": True},
    {"batch_size": 32},
    {"max_steps": 1},
    {"ema_decay": 0.5},
  ],
  ids=str,
)
def test_an_override_with_an_effect_is_never_called_unwired(experiment, override):
  found = fingerprints(experiment, {"base": {}, "changed": override})
  assert found["base"] != found["changed"]


def test_initial_weights_and_stochastic_depth_count(experiment):
  net = {"data.image_size": 8, "data.channels": 3, "model.blocks": 1}
  page = dataclasses.replace(experiment, config="configs/cifar.py:resnet20")
  net |= {"data.name": "digits", "data.centering": "channel", "max_steps": 1, "batch_size": 8}
  net |= {"model.width": 0.25}
  found = fingerprints(
    page,
    {
      "off": net,
      "uniform_off": {**net, "model.survival_schedule": "uniform"},
      "linear": {**net, "model.survival": 0.5},
      "uniform": {**net, "model.survival": 0.5, "model.survival_schedule": "uniform"},
      "plain": {**net, "model.name": "plain20"},
    },
  )
  assert found["off"] == found["uniform_off"]
  assert len(set(found.values())) == 4


def test_results_are_cached(experiment, monkeypatch):
  specs = plan(experiment, "nowhere", "max")
  first = examine(specs, workers=0)
  monkeypatch.setattr("cnnlab.lab.wiring._examine", None)
  assert examine(specs, workers=0) == first
  changed = dataclasses.replace(experiment, overrides={"batch_size": 8})
  with pytest.raises(TypeError):
    examine(plan(changed, "nowhere", "max"), workers=0)


def test_a_variant_that_cannot_be_set_up_has_an_error(experiment):
  wrong = {"stride": STRIDE, "wrong": {"optim.b1": 0.5}}
  found = examine(plan(dataclasses.replace(experiment, variants=wrong), "nowhere"), workers=0)
  assert found[0].error == ""
  assert "'optim.b1' is set to 0.5, but nothing in this run reads it" in found[1].error


def test_an_estimate_uses_the_rate_of_earlier_runs(experiment, sweep, tmp_path):
  # The synthetic runs have 20,000 multiply-adds and 3,200 images/s.
  rate = rate_of_runs(sweep)
  assert rate.multiply_adds == 3 * 20_000 * 3200
  assert rate.source == "measured in 15 runs of this sweep"
  assert rate_of_runs(tmp_path / "nothing") is None


EXPERIMENT = """
import dataclasses
from cnnlab.lab.files import load_experiment

def get_experiment(recipe=""):
  toy = load_experiment("downsampling_digits", "tiny")
  variants = {VARIANTS}
  return dataclasses.replace(toy, name="wires", variants=variants, base="stride", claims=())
"""


@pytest.mark.slow
def test_from_the_shell(tmp_path, capsys):
  file = tmp_path / "wires" / "experiment.py"
  file.parent.mkdir()
  two = {label: VARIANTS[label] for label in ("stride", "window3")}
  file.write_text(EXPERIMENT.replace("{VARIANTS}", repr(two)))
  root = tmp_path / "runs"
  arguments = ["sweep", str(file), "--root", str(root), "--seeds=1", "--workers=1"]
  assert main([*arguments, "--strict", "--config.batch_size=32"]) == 2
  shown = capsys.readouterr().out
  assert "not wired: 'stride', 'window3' would train identically" in shown
  assert "--strict: nothing was started" in shown
  assert not root.exists()
  assert main([*arguments, "--dry_run", "--config.batch_size=32"]) == 0
  shown = capsys.readouterr().out
  assert "not wired" in shown
  assert "2 of 2 runs to do" in shown
  assert "cost: " in shown
  assert not root.exists()
  part = ["--only=stride", "--config.batch_size=32"]
  assert main([*arguments, *part]) == 0
  config = json.loads((root / "wires" / "stride" / "seed0" / "config.json").read_text())
  assert config["batch_size"] == 32
  stored = json.loads((root / "wires" / "experiment.json").read_text())
  assert stored["overrides"] == {"eval_trainset": True, "batch_size": 32}
  capsys.readouterr()
  assert main([*arguments, "--only=stride", "--config.batch_size=16"]) == 2
  assert (
    "'batch_size': 32}, not {'eval_trainset': True, 'batch_size': 16}" in capsys.readouterr().err
  )
