"""The paragraphs of a report that say how its tables are to be read."""

from __future__ import annotations

import pandas as pd

from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import verdict_words, wording
from cnnlab.lab.statistics.summary import LEVEL


def verdicts(experiment: Experiment) -> list[str]:
  """Returns what the table of verdicts shows, and what its last column invites to."""
  pairing = (
    "Variants are compared seed by seed; by what factor this changed the standard error is said "
    "beside the correlation of both sides."
    if experiment.pairing == "seeds"
    else "The seeds of two variants are taken for independent, which was chosen before the runs; by "
    "what factor comparing them seed by seed would have changed the standard error is said beside "
    "the correlation of both sides."
  )
  looked = (
    f" The sweep looked at its verdicts {experiment.looks} times while seeds were added; the levels "
    "are corrected for this."
    if experiment.looks
    else ""
  )
  return [
    f"A claim holds if the whole interval satisfies it, fails if the whole interval violates it, and "
    f"is inconclusive otherwise, at {100 * LEVEL:g} % for all claims together: p is corrected by "
    f"Holm's procedure over the distinct contrasts, while the interval (left side minus right side) "
    f"is the plain {100 * LEVEL:g} % one. A claim is not tested where the runs are outside its "
    f"regime. {pairing}{looked}",
    verdict_words.STOPPING,
  ]


def confirmation(experiment: Experiment) -> str:
  """Returns what the table of the confirming seeds shows; empty without any."""
  seeds = experiment.confirmed_by
  if not seeds:
    return ""
  return (
    f"The same claims, frozen, tested once more on seeds {', '.join(map(str, seeds))} alone, which "
    "no claim, margin or tuned value was chosen on."
  )


def results(experiment: Experiment, summary: pd.DataFrame) -> str:
  """Returns what the columns of the results are.

  Args:
    experiment: the experiment.
    summary: the table of `statistics.summarize`.
  """
  compared = (
    "Differences are taken seed by seed (same batches and augmentations)"
    if experiment.pairing == "seeds"
    else "Differences are between the means of independent seeds"
  )
  sizes = sorted({f"{size:,.0f}" for size in summary["test_examples"].dropna()}, key=len)
  over = f"seeds and the {' or '.join(sizes)} test examples" if sizes else "seeds alone"
  trained = (
    "On the training set: the same metric in evaluation mode, without augmentation; the gap is the "
    "difference. "
    if summary["trainset"].notna().any()
    else ""
  )
  return (
    f"The metric is from a run's last evaluation, with 95 % intervals over {over}. {trained}"
    f"{compared}; p is two-sided and not corrected for the number of variants."
  )


def costs() -> str:
  """Returns what the columns of the costs are."""
  return (
    "Multiply-adds are for the forward pass of one image. The training time includes compilation; "
    "the time of a step is the median."
  )


def tuning(experiment: Experiment) -> str:
  """Returns how the hyperparameters were chosen; empty without a tuning."""
  asked = experiment.tuning
  if asked is None:
    return ""
  keys = "; ".join(f"{key}: {', '.join(map(str, tried))}" for key, tried in asked.keys.items())
  further = ", ".join(f"{key} = {value}" for key, value in asked.overrides.items())
  part = f"{100 * asked.validation:g} % of the training set"
  judges = experiment.tuning_metric.startswith("eval/")
  name = wording.describe_metric(asked.metric.removeprefix("eval/"), experiment.declared).name
  return (
    f"Every variant tried the same values ({keys}) "
    + (f"on {part}, held out" if judges else f"without {part}")
    + f", with seeds {', '.join(map(str, asked.seeds))}"
    + (f" and {further}" if further else "")
    + f". The setting with the best mean {f'{name} ' if asked.metric else ''}at the last evaluation "
    "was chosen. The test set was not read."
  )
