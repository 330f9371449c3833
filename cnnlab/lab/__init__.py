"""The lab: an experiment's question, its runs, their statistics, and the report."""

from cnnlab.lab.experiment import Claim, Experiment, Published, load_experiment
from cnnlab.lab.plan import RunSpec, open_sweep, plan
from cnnlab.lab.results import collect
from cnnlab.lab.variants import grid, joined, values, zipped

__all__ = [
  "Claim",
  "Experiment",
  "Published",
  "RunSpec",
  "collect",
  "grid",
  "joined",
  "load_experiment",
  "plan",
  "open_sweep",
  "values",
  "zipped",
]
