"""Computes every verdict of a report again, from its CSV files alone and without cnnlab.

    python tests/lab/recompute.py experiments/*/results

reads results.csv, examples.csv.gz and claims.csv (and confirmation.csv) of each folder, prints where
its own numbers differ from those in claims.csv, and ends with 1 if any does. It needs numpy, SciPy
and pandas. The rules are those that the documentation states, put down a second time: the analysis
of variance by its mean squares, and Holm's procedure step by step at the level of the last look.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

EXACT = ("parameters", "multiply_adds")
ALPHA = 0.05
CLOSE = {"rtol": 1e-6, "atol": 1e-12, "equal_nan": True}


def has_what_it_takes(folder):
  """Whether a report is recent enough: old claims.csv files do not say how they were computed."""
  path = Path(folder) / "claims.csv"
  return path.is_file() and "conditions" in pd.read_csv(path, nrows=0).columns


def differences_from_report(folder):
  """Returns a line for each number or verdict of a report that its CSV files do not give."""
  folder = Path(folder)
  results = pd.read_csv(folder / "results.csv")
  file = folder / "examples.csv.gz"
  examples = pd.read_csv(file) if file.is_file() else pd.DataFrame()
  found = []
  for name, confirms in (("claims.csv", False), ("confirmation.csv", True)):
    if (folder / name).is_file():
      claims = pd.read_csv(folder / name).to_dict("records")
      runs = results[results["confirms"].astype(bool) == confirms]
      found += [f"{folder / name}: {line}" for line in _compare(claims, runs, examples)]
  return found


def _compare(claims, runs, examples):
  level = ALPHA / 2 ** (claims[0]["looks"] if claims else 0)
  own = [_measure(claim, runs, examples, level) for claim in claims]
  _decide(claims, own, runs, level)
  for claim, ours in zip(claims, own, strict=True):
    for key, value in ours.items():
      same = value == claim[key] if key == "verdict" else np.isclose(value, claim[key], **CLOSE)
      if not same:
        yield f"{claim['text']!r}: {key} is {claim[key]}, recomputed {value}"
    decided = claim["verdict"] in ("holds", "fails") and claim["metric"] not in EXACT
    if decided and not claim["p_corrected"] <= ALPHA:
      yield f"{claim['text']!r}: decided at a corrected p of {claim['p_corrected']}"


def _measure(claim, runs, examples, level):
  """Returns difference, interval and p-value of a claim, without correction."""
  column = "value" if claim["metric"] == claim["experiment_metric"] else claim["metric"]
  sides, tables = [], []
  for label in (claim["left"], claim["right"]):
    done = runs[(runs["variant"] == label) & (runs["status"] == "done")].dropna(subset=[column])
    sides.append(done.set_index("seed")[column].astype(float))
    wanted = [f"{label}/seed{seed}" for seed in sides[-1].index]
    known = column == "value" and wanted and set(wanted) <= set(examples.columns)
    tables.append(examples[wanted].dropna() if known else None)
  factor = claim["factor"]
  # Each test set has rows of its own.
  same = all(table is not None for table in tables) and tables[0].index.equals(tables[1].index)
  tables = [table.to_numpy(float).T for table in tables] if same else [None, None]
  paired = claim["pairing"] == "seeds" or claim["metric"] in EXACT
  if paired:
    shared = sides[0].index.intersection(sides[1].index)
    rows = [[list(side.index).index(seed) for seed in shared] for side in sides]
    values = [sides[0][shared].to_numpy() - factor * sides[1][shared].to_numpy()]
    tables = [tables[0][rows[0]] - factor * tables[1][rows[1]]] if same else [None]
  else:
    values = [sides[0].to_numpy(), -factor * sides[1].to_numpy()]
    tables = [tables[0], -factor * tables[1]] if same else [None]
  return _estimate(claim, values, tables, level)


def _estimate(claim, values, tables, level):
  counts = [len(one) for one in values]
  if min(counts) == 0:
    return dict.fromkeys(("difference", "low", "high", "p_value"), math.nan)
  mean = sum(one.mean() for one in values)
  if claim["metric"] in EXACT:
    return {"difference": mean, "low": mean, "high": mean, "p_value": math.nan}
  if min(counts) == 1:
    return {"difference": mean, "low": math.nan, "high": math.nan, "p_value": math.nan}
  seeds = [
    0 if np.ptp(v) < 1e-12 else v.var(ddof=1) / n for v, n in zip(values, counts, strict=True)
  ]
  images, number = 0.0, 2
  if tables[0] is not None:
    squares = [_mean_squares(table) for table in tables]
    number = tables[0].shape[1]
    # Seed and image components below zero are zero.
    seeds = [max(s, e) / (n * number) for (s, _, e), n in zip(squares, counts, strict=True)]
    of_images = sum(table.mean(axis=0) for table in tables).var(ddof=1) / number
    rest = sum(e / (n * number) for (_, _, e), n in zip(squares, counts, strict=True))
    images = max(0.0, of_images - rest)
  if sum(seeds) == 0:
    end = mean if mean == 0 else math.nan
    return {"difference": mean, "low": end, "high": end, "p_value": math.nan}
  total = sum(seeds) + images
  spread = sum(part**2 / (n - 1) for part, n in zip(seeds, counts, strict=True))
  freedom = total**2 / (spread + images**2 / (number - 1))
  low, high = stats.t.interval(1 - level, freedom, mean, math.sqrt(total))
  margin = claim["margin"]
  edges = (margin, -margin) if claim["relation"] == "==" else (margin,)
  p_value = max(2 * stats.t.cdf(-abs(mean - edge) / math.sqrt(total), freedom) for edge in edges)
  return {"difference": mean, "low": low, "high": high, "p_value": p_value}


def _mean_squares(table):
  """Returns the mean squares of seeds, images and residual in a two-way layout."""
  seeds, images = table.shape
  grand = table.mean()
  of_seeds = images * np.sum((table.mean(axis=1) - grand) ** 2)
  of_images = seeds * np.sum((table.mean(axis=0) - grand) ** 2)
  rest = max(0.0, np.sum((table - grand) ** 2) - of_seeds - of_images)
  rest = 0.0 if rest < 1e-9 else rest
  return of_seeds / (seeds - 1), of_images / (images - 1), rest / ((seeds - 1) * (images - 1))


def _decide(claims, own, runs, alpha):
  """Adds the verdicts, by Holm's procedure over distinct contrasts."""
  contrasts = {}
  for claim, ours in zip(claims, own, strict=True):
    ours["verdict"] = "inconclusive"
    if _outside(claim, runs):
      ours["verdict"] = "not tested"
    if claim["metric"] in EXACT:
      if ours["verdict"] != "not tested" and not math.isnan(ours["difference"]):
        ours["verdict"] = _direction(claim, ours["difference"])
      continue
    left, right, factor = claim["left"], claim["right"], claim["factor"]
    if left > right:
      left, right, factor = right, left, 1 / factor
    contrasts.setdefault((left, right, claim["metric"], round(factor, 12)), []).append(
      (claim, ours)
    )
  waiting, share = list(contrasts.values()), len(contrasts)
  while waiting:
    first = min(waiting, key=_largest)
    waiting.remove(first)
    for claim, ours in first:
      if ours["verdict"] != "not tested" and ours["p_value"] <= alpha / share:
        ours["verdict"] = _direction(claim, ours["difference"])
    if _largest(first) <= alpha / share:
      share = len(waiting)
  for claim, ours in zip(claims, own, strict=True):
    ours["verdict"] = _without_diverged(claim, ours["verdict"], runs)


def _largest(members):
  known = [o["p_value"] for _, o in members if o["verdict"] != "not tested"]
  return max((p for p in known if not math.isnan(p)), default=1.0)


def _direction(claim, difference):
  margin = claim["margin"]
  holds = {
    "<=": difference <= margin,
    "<": difference < margin,
    ">=": difference >= margin,
    ">": difference > margin,
    "==": -margin <= difference <= margin,
  }[claim["relation"]]
  return "holds" if holds else "fails"


def _outside(claim, runs):
  """Whether the runs are outside the regime, or not at equal cost."""
  done = runs[runs["status"] == "done"]
  for condition in json.loads(claim["conditions"]):
    metric = condition["metric"]
    column = "value" if metric == claim["experiment_metric"] else metric
    mean = done.loc[done["variant"] == condition["variant"], column].mean()
    relation = condition["relation"]
    met = mean <= condition["value"] if relation == "<=" else mean >= condition["value"]
    if not met:
      return True
  if isinstance(claim["equal"], str):
    costs = [
      done.loc[done["variant"] == claim[s], claim["equal"]].mean() for s in ("left", "right")
    ]
    return not abs(costs[0] - costs[1]) <= claim["tolerance"] * max(costs)
  return False


def _without_diverged(claim, verdict, runs):
  """A verdict in favor of a variant that diverged is withheld."""
  if verdict not in ("holds", "fails") or claim["metric"] in EXACT:
    return verdict
  for side, sign in (("left", 1), ("right", -1)):
    if ((runs["variant"] == claim[side]) & (runs["status"] == "diverged")).any():
      worst = sign * (math.inf if claim["better"] == "min" else -math.inf)
      if _direction(claim, worst) != verdict:
        return "inconclusive"
  return verdict


if __name__ == "__main__":
  problems = []
  for argument in sys.argv[1:]:
    if has_what_it_takes(argument):
      problems += differences_from_report(argument)
      print(f"{argument}: recomputed")
    else:
      print(f"{argument}: its claims.csv is of an older version")
  print("\n".join(problems))
  sys.exit(bool(problems))
