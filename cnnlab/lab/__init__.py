"""The lab: an experiment's question, its runs, their statistics, and the report."""

from cnnlab.lab.claim import Claim, Condition
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.experiment import Experiment, Published
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import RunSpec, plan
from cnnlab.lab.results import collect
from cnnlab.lab.tuning import Tuning
from cnnlab.lab.variants import grid, joined, values, zipped

__all__ = [
  "Claim",
  "Condition",
  "Experiment",
  "Published",
  "RunSpec",
  "Tuning",
  "collect",
  "grid",
  "joined",
  "load_experiment",
  "open_sweep",
  "plan",
  "values",
  "zipped",
]
