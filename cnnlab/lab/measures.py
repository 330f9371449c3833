"""Checks before a sweep that what an experiment is judged by will be measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cnnlab import metrics
from cnnlab.errors import ConfigError, unknown
from cnnlab.lab.claim import COSTS, Measure
from cnnlab.lab.experiment import Experiment
from cnnlab.lab.plan import RunSpec, resolve
from cnnlab.lab.wiring import Examined

TRAINSET = "trainset"


def check_measures(
  experiment: Experiment, specs: Sequence[RunSpec], examined: Iterable[Examined]
) -> None:
  """Checks the experiment's metric, its mode, and the metrics of its tuning, claims and regime.

  Args:
    experiment: the experiment.
    specs: its plan.
    examined: what its variants would train.

  Raises:
    ConfigError: a metric that no run will have, or a mode that its declaration contradicts.
  """
  declared = next((metrics.from_json(one.metrics) for one in examined if one.metrics), ())
  evaluated = resolve(specs[0]).eval_trainset
  where = f"experiment {experiment.name!r}"
  asked = {"metric": experiment.metric}
  if experiment.tuning:
    asked["metric of tuning"] = experiment.tuning.metric
  asked |= {f"metric of claim {claim.text!r}": claim.metric for claim in experiment.claims}
  asked |= {f"metric of condition {one.text!r}": one.metric for one in experiment.regime}
  for what, text in asked.items():
    if text:
      _check(where, what, Measure.parse(text).metric, declared, evaluated)
  found = metrics.find(experiment.metric, declared)
  if experiment.mode and experiment.mode != found.better:
    raise ConfigError(
      f"{where}: mode is {experiment.mode!r}, but {experiment.metric!r} is better the "
      f"{'lower' if found.better == 'min' else 'higher'} it is; leave mode out"
    )


def _check(
  where: str, what: str, name: str, declared: Sequence[metrics.Metric], evaluated: bool
) -> None:
  split, _, leaf = name.partition("/")
  known = {f"{part}/{one.name}" for part in metrics.SPLITS for one in declared}
  known |= {"train/loss", "train/grad_norm", "learning_rate", *COSTS}
  per_class = {one.name for one in declared if one.per_class}
  if name not in known and not (split in metrics.SPLITS and leaf.partition("/")[0] in per_class):
    raise ConfigError(f"{where}: {unknown(what, name, known)}")
  if split == TRAINSET and not evaluated:
    raise ConfigError(f"{where}: {what} is {name!r}, which needs eval_trainset=True in the config")
