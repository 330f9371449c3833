"""What a sweep's tuning chooses, with runs that are written instead of trained."""

import pytest

from cnnlab import metrics
from cnnlab.lab import Tuning
from cnnlab.lab.experiment import read_experiment
from cnnlab.launch.outcome import SweepResult
from cnnlab.launch.sweep import Launcher, sweep
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_run

VALUES = {0.1: 0.4, 0.01: 0.3}


@pytest.mark.parametrize(("better", "rate"), [("max", 0.1), ("min", 0.01)])
def test_the_direction_of_a_metric_is_that_of_the_task(better, rate, tmp_path, monkeypatch):
  declared = metrics.to_json((metrics.Metric("error", "score", better=better),))

  def run(self, specs, logs, console):
    for spec in specs:
      value = VALUES[spec.overrides["optim.learning_rate"]]
      write_run(
        tmp_path / "toy" / spec.name,
        errors=(value,),
        config=spec.overrides,
        derived={"metrics": declared},
      )
    return SweepResult()

  monkeypatch.setattr(Launcher, "run", run)
  experiment = make_experiment(
    variants={"base": {}, "better": {"model.features": (4, 4)}},
    tuning=Tuning({"optim.learning_rate": (0.1, 0.01)}),
    paper={},
    claims=(),
  )
  done = sweep(experiment, tmp_path)
  chosen = {label: {"optim.learning_rate": rate} for label in ("base", "better")}
  assert read_experiment(done.directory).tuned == chosen
  assert {spec.overrides["optim.learning_rate"] for spec in done.specs} == {rate}
