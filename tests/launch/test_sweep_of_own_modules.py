"""A sweep whose model is the user's own: workers import its module, and a changed one is examined anew."""

import sys

import pytest

from cnnlab.cli.main import main
from cnnlab.errors import RunError
from cnnlab.lab import wiring
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan, resolve
from cnnlab.launch.sweep import Launcher, sweep
from cnnlab.runs import load

FILES = {
  "own_sweep_module": """
import flax.linen as nn
from cnnlab.models import register_model
from own_sweep_helper import WIDTH

class Own(nn.Module):
  num_classes: int = 10
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, *, train):
    x = nn.Dense(WIDTH, name="hidden")(x.reshape(x.shape[0], -1))
    return nn.Dense(self.num_classes, name="head")(x), {"pre_logits": x}

register_model("own_of_the_sweep", Own)
""",
  "own_sweep_helper": "WIDTH = 4",
  "beside": """
from cnnlab.defaults import default_config

def get_config(arg=""):
  config = default_config()
  config.model.name = "own_of_the_sweep"
  return config
""",
  "experiment": """
from cnnlab.lab import Experiment

def get_experiment(recipe=""):
  return Experiment(
    name="own", question="Does it run?", config="beside.py", variants={"one": {}}, base="one",
    seeds=(0,), overrides={"imports": ("own_sweep_module",), "max_steps": 2},
  )
""",
}


@pytest.fixture
def experiment(tmp_path, monkeypatch):
  """An experiment outside of the repository, seen from another folder."""
  (tmp_path / "own").mkdir()
  (tmp_path / "elsewhere").mkdir()
  for name, text in FILES.items():
    (tmp_path / "own" / f"{name}.py").write_text(text)
  monkeypatch.chdir(tmp_path / "elsewhere")
  return load_experiment(str(tmp_path / "own"))


def test_workers_import_what_the_experiment_names(experiment, tmp_path):
  file = str(tmp_path / "own" / "own_sweep_module.py")
  assert experiment.overrides["imports"] == (file,)
  done = sweep(experiment, tmp_path / "runs", launcher=Launcher(workers=1))
  assert done.result.exit_code == 0, done.result
  run = load(done.directory / "one" / "seed0")
  assert run.config.derived.imports == [file]
  assert run.metrics["step"].iloc[-1] == 2
  with pytest.raises(RunError, match="own_sweep_module.py.*a file is not executed because a run"):
    run.model  # noqa: B018, the property builds it
  for verb in ("report", "runs"):  # reading a run executes nothing
    assert main([verb, str(run.directory)]) == 0
  assert "own_sweep_module" not in sys.modules


def test_a_changed_module_is_examined_anew(experiment, tmp_path):
  (spec,) = plan(experiment, tmp_path / "runs")
  before = wiring._key(resolve(spec))
  assert wiring._key(resolve(spec)) == before
  (tmp_path / "own" / "own_sweep_helper.py").write_text("WIDTH = 8")
  assert wiring._key(resolve(spec)) != before
