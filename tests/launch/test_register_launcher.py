"""A launcher of a user's own trains a sweep, one run after the other in this process."""

import json

import pytest
from rich.console import Console

from cnnlab.cli.main import main
from cnnlab.errors import ConfigError
from cnnlab.lab.execute import execute_run
from cnnlab.lab.files import load_experiment
from cnnlab.launch import sweep
from cnnlab.launch.outcome import Outcome, closed, opened


class Here:
  """Knows a single option, `note`."""

  def __init__(self):
    self.calls = []

  def check(self, settings, workers):
    if set(settings or {}) - {"note"}:
      raise ConfigError(f"options are {sorted(settings)}; allowed: note")

  def run_sweep(self, specs, *, workers, console, logs, settings):
    self.calls.append((workers, settings))
    result, todo = opened(specs, console)
    for spec in todo:
      outcome = execute_run(spec.to_dict(), lambda step, total: None)
      result.outcomes[spec.name] = Outcome(spec.name, **outcome)
    return closed(specs, result, console)


@pytest.fixture
def here(monkeypatch):
  monkeypatch.setattr(sweep, "LAUNCHERS", dict(sweep.LAUNCHERS))
  launcher = Here()
  sweep.register_launcher("here", launcher)
  return launcher


def test_a_registered_launcher_trains_a_sweep(here, tmp_path):
  experiment = load_experiment("downsampling_digits", "tiny")
  launcher = sweep.Launcher("here", 3, {"note": "x"})
  done = sweep.sweep(
    experiment, tmp_path, only="max", seeds=1, launcher=launcher, console=Console()
  )
  assert done.result.exit_code == 0
  status = json.loads((done.directory / "max" / "seed0" / "status.json").read_text())
  assert status["status"] == "done"
  assert here.calls == [(3, {"note": "x"})]


def test_what_it_refuses_is_said_before_anything_is_written(here, tmp_path, capsys):
  arguments = [
    "sweep",
    "downsampling_digits",
    f"--root={tmp_path}/runs",
    "--on=here",
    "--option=a=b",
  ]
  assert main(arguments) == 2
  assert "allowed: note" in capsys.readouterr().err
  assert not (tmp_path / "runs").exists()


def test_what_is_no_launcher_and_taken_names_are_refused(here):
  with pytest.raises(ConfigError, match="launcher 'there' is 3, which has no function 'check'"):
    sweep.register_launcher("there", 3)
  with pytest.raises(ConfigError, match="launcher 'here' is registered already"):
    sweep.register_launcher("here", Here())
  with pytest.raises(ConfigError, match="launcher 'local' is cnnlab's own"):
    sweep.register_launcher("local", Here(), replace=True)
  with pytest.raises(ConfigError, match="unknown launcher 'her'; did you mean 'here'"):
    sweep.Launcher("her").check()
