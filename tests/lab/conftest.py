"""The directory of a sweep with finished, diverged and missing runs, written without training."""

import pytest

from cnnlab.lab import Claim, Experiment, Published
from cnnlab.lab.directory import open_sweep
from tests.runs.synthetic import write_run

# Last test error of each run by variant and seed; None for a run that is not done.
ERRORS = {
  "base": (0.20, 0.22, 0.24, 0.21),
  "better": (0.17, 0.20, 0.20, 0.18),
  "twin": (0.20, 0.22, 0.24, 0.21),
  "shaky": (0.30, None, 0.25, None),
}


def make_experiment(**changes):
  fields = {
    "name": "toy",
    "question": "Does <b>it</b> help & how?",
    "config": "configs/digits.py",
    "variants": {
      "base": {},
      "better": {"optim.learning_rate": 0.2},
      "twin": {"model.features": (16, 32)},
      "shaky": {"optim.learning_rate": 9},
    },
    "base": "base",
    "seeds": (0, 1, 2, 3),
    "claims": (Claim("better is better", "better", "<", "base", "a paper", margin=0.01),),
    "paper": {"base": Published(0.19, "arXiv:0000.00000, table 1", "other data")},
  }
  return Experiment(**fields | changes)


@pytest.fixture(scope="session")
def sweep(tmp_path_factory):
  """<root>/toy: 4 variants x 4 seeds; `shaky` has a diverged and a missing run."""
  root = tmp_path_factory.mktemp("runs")
  experiment = make_experiment()
  directory = open_sweep(experiment, root)
  for label, finals in ERRORS.items():
    for seed, final in enumerate(finals):
      if final is None and seed == 3:
        continue
      config = dict(experiment.variants[label]) | {"seed": seed}
      options = {"config": {k: list(v) if isinstance(v, tuple) else v for k, v in config.items()}}
      if final is None:
        options |= {"status": "diverged", "reason": "DivergedError: loss is nan", "total": 3}
        write_run(directory / label / f"seed{seed}", errors=(0.9,), **options)
      else:
        write_run(directory / label / f"seed{seed}", errors=(0.6, final - 0.02, final), **options)
  return directory
