"""Seeds are added until the claims are decided; training is replaced by synthetic runs."""

import numpy as np
import pytest
from rich.console import Console

from cnnlab.errors import ConfigError
from cnnlab.lab.claim import Claim
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import read_experiment
from cnnlab.launch import until
from cnnlab.launch.outcome import Outcome, SweepResult
from cnnlab.launch.sweep import Sweep
from tests.lab.conftest import make_experiment
from tests.runs.synthetic import write_run

CLAIM = Claim("better is better", "better", "<", "base", "a paper")


@pytest.fixture
def trained(monkeypatch):
  """Replaces `sweep`; the gap between the variants is set by the test. Returns the counts of seeds."""
  counts = []
  experiment = make_experiment(
    variants={"base": {}, "better": {"optim.learning_rate": 0.2}}, paper={}, claims=(CLAIM,)
  )

  def sweep(experiment, root, *, seeds, gap=0.03, **_):
    directory = open_sweep(experiment, root, seeds)
    rng = np.random.default_rng(0)
    errors = 0.2 + rng.normal(0, 0.03, size=(100, 2)) - [0, gap]
    for seed in range(seeds):
      for column, (label, overrides) in enumerate(experiment.variants.items()):
        run = directory / label / f"seed{seed}"
        if not run.exists():
          write_run(run, config=overrides | {"seed": seed}, errors=(float(errors[seed, column]),))
    counts.append(seeds)
    result = SweepResult({"x": Outcome("x", "done")})
    return Sweep(directory, [], result)

  monkeypatch.setattr(until, "sweep", sweep)
  return (
    counts,
    experiment,
    lambda gap: monkeypatch.setattr(until, "sweep", lambda *a, **k: sweep(*a, gap=gap, **k)),
  )


def hours():
  """A clock on which every reading is a minute after the last."""
  return iter(range(0, 10**6, 60)).__next__


def test_seeds_are_added_until_the_claim_is_decided(trained, tmp_path, capsys):
  counts, experiment, set_gap = trained
  set_gap(0.02)
  done = until.sweep_until_decided(
    experiment, tmp_path, max_hours=100, console=Console(), clock=hours()
  )
  assert counts[:2] == [5, 8]
  assert counts == sorted(set(counts))
  saved = read_experiment(done.directory)
  assert (saved.looks, len(saved.seeds)) == (len(counts), counts[-1])
  assert "0 of 1 claims undecided" in capsys.readouterr().out
  # A repeated call looks again at the same runs, and counts no look twice.
  until.sweep_until_decided(experiment, tmp_path, max_hours=100, console=Console(), clock=hours())
  assert read_experiment(done.directory).looks == saved.looks


def test_time_that_is_up_ends_it(trained, tmp_path, capsys):
  counts, experiment, set_gap = trained
  set_gap(0.0)
  until.sweep_until_decided(experiment, tmp_path, max_hours=0.01, console=Console(), clock=hours())
  assert counts == [5]
  assert "1 of 1 claims undecided" in (out := capsys.readouterr().out)
  assert "8 seeds would take" in out


def test_what_cannot_be_decided_is_refused(tmp_path):
  with pytest.raises(ConfigError, match="no claims to decide"):
    until.sweep_until_decided(make_experiment(claims=()), tmp_path, max_hours=1)
  for hours in (0, -1, float("nan"), float("inf")):
    with pytest.raises(ConfigError, match="max_hours"):
      until.sweep_until_decided(make_experiment(), tmp_path, max_hours=hours)
