import dataclasses
import json
import os
import socket

import pytest

from cnnlab.config import to_plain
from cnnlab.errors import ConfigError, RunError
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import read_experiment
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan, resolve
from cnnlab.lab.results import collect
from tests.runs.synthetic import write_json


@pytest.fixture
def experiment():
  return load_experiment("downsampling_digits", "tiny")


def test_every_variant_and_seed_seeds_first(experiment, tmp_path):
  specs = plan(experiment, tmp_path)
  assert [spec.name for spec in specs[:5]] == [
    "max/seed0",
    "avg/seed0",
    "stride/seed0",
    "conv/seed0",
    "max/seed1",
  ]
  assert len(specs) == 12
  assert all(spec.state == "absent" and spec.to_do for spec in specs)
  assert specs[4].directory == str(tmp_path / "downsampling_digits" / "max" / "seed1")
  assert json.loads(json.dumps(specs[4].to_dict())) == specs[4].to_dict()


def test_config_of_a_run_is_the_page_with_its_overrides(experiment, tmp_path):
  config = resolve(plan(experiment, tmp_path)[5])
  assert (config.seed, config.model.downsample, config.data.name) == (1, "avg", "digits")


def test_part_of_a_plan(experiment, tmp_path):
  names = [spec.name for spec in plan(experiment, tmp_path, only="s* max", seeds=[7])]
  assert names == ["max/seed7", "stride/seed7"]
  assert len(plan(experiment, tmp_path, seeds=5)) == 20
  with pytest.raises(ConfigError, match=r"'strid'.*'stride'"):
    plan(experiment, tmp_path, only="strid")
  with pytest.raises(ConfigError, match="seeds must be"):
    plan(experiment, tmp_path, seeds=0)


def make_run(spec, status=None, **changes):
  directory = os.path.join(spec.directory)
  os.makedirs(directory)
  config = to_plain(resolve(spec)) | {"derived": {"total_steps": 2}} | changes
  write_json(_in(directory, "config.json"), config)
  if status:
    content = {"status": status, "pid": os.getpid(), "host": socket.gethostname()}
    write_json(_in(directory, "status.json"), content)


def _in(directory, name):
  from pathlib import Path

  return Path(directory) / name


def test_state_of_each_run(experiment, tmp_path):
  names = ("done", "interrupted", "failed", "diverged", "running", None)
  specs = plan(experiment, tmp_path)
  for spec, status in zip(specs, names, strict=False):
    make_run(spec, status)
  make_run(specs[6], "done", batch_size=63)
  write_json_dead = {"status": "running", "pid": 2**22 - 3, "host": socket.gethostname()}
  make_run(specs[7])
  write_json(_in(specs[7].directory, "status.json"), write_json_dead)
  found = plan(experiment, tmp_path)[:9]
  assert [(spec.state, spec.to_do) for spec in found] == [
    ("done", False),
    ("interrupted", True),
    ("failed", True),
    ("diverged", False),
    ("running", False),
    ("interrupted", True),
    ("other config", False),
    ("dead", True),
    ("absent", True),
  ]


def test_shared_overrides_are_part_of_every_run(experiment, tmp_path):
  shared = dataclasses.replace(experiment, overrides={"eval_trainset": True, "batch_size": 32})
  assert {resolve(spec).batch_size for spec in plan(shared, tmp_path)} == {32}
  own = {"max": {"batch_size": 16}, "avg": {}}
  mixed = dataclasses.replace(shared, variants=own, claims=())
  assert [resolve(spec).batch_size for spec in plan(mixed, tmp_path, seeds=1)] == [16, 32]
  open_sweep(shared, tmp_path)
  with pytest.raises(RunError, match="'batch_size': 32}, not {'eval_trainset'"):
    open_sweep(experiment, tmp_path)
  with pytest.raises(ConfigError, match="sets 'seed'"):
    dataclasses.replace(experiment, overrides={"seed": 1})


def test_a_sweep_may_move_with_its_data(experiment, tmp_path):
  before = dataclasses.replace(experiment, overrides={"data.dir": "/old", "batch_size": 32})
  after = dataclasses.replace(experiment, overrides={"data.dir": "/new", "batch_size": 32})
  open_sweep(before, tmp_path)
  make_run(plan(before, tmp_path)[0], "done")
  open_sweep(after, tmp_path)
  assert plan(after, tmp_path)[0].state == "done"
  assert read_experiment(tmp_path / experiment.name).overrides["data.dir"] == "/new"
  assert collect(tmp_path / experiment.name).iloc[0]["status"] == "done"


def test_unusable_variant_is_named(experiment, tmp_path):
  wrong = dataclasses.replace(
    experiment, variants={"max": {}, "typo": {"optim.momentun": 0.5}}, claims=()
  )
  with pytest.raises(ConfigError, match=r"variant 'typo'.*'optim.momentun'.*'optim.momentum'"):
    plan(wrong, tmp_path)


def test_open_sweep_keeps_earlier_seeds_and_refuses_another_recipe(experiment, tmp_path):
  directory = open_sweep(experiment, tmp_path)
  assert directory == tmp_path / "downsampling_digits"
  open_sweep(experiment, tmp_path, seeds=[5])
  assert read_experiment(directory).seeds == (0, 1, 2, 5)
  with pytest.raises(RunError, match="recipe 'tiny', not ''"):
    open_sweep(load_experiment("downsampling_digits"), tmp_path)
