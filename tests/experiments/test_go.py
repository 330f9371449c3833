"""The Go experiments: configs resolve, figures are the paper's, and every variant trains."""

import dataclasses
import json

import numpy as np
import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.experiments.go_features import baselines
from cnnlab.lab.execute import execute_run
from cnnlab.lab.files import load_experiment
from cnnlab.lab.plan import plan
from cnnlab.models import create_model
from cnnlab.tasks import task_settings

NAMES = ("go_features", "go_residual", "go_width")


@pytest.fixture(scope="module")
def games(tmp_path_factory):
  """Games of random moves; White always answers beside Black's move."""
  rng, lines = np.random.default_rng(0), []
  for name in range(60):
    points = [2 * int(p) for p in rng.permutation(180)[:6]]
    moves = [point for p in points for point in (p, p + 1) if p % 19 < 18]
    moves = list(dict.fromkeys(moves))
    lines.append(f"{name}\t\t\t\t" + "".join(chr(97 + p % 19) + chr(97 + p // 19) for p in moves))
  path = tmp_path_factory.mktemp("go") / "games.tsv"
  path.write_text("\n".join(lines))
  return path


@pytest.mark.parametrize("recipe", ["paper", "quick", "tiny"])
@pytest.mark.parametrize("name", NAMES)
def test_every_variant_has_a_config_and_a_net(name, recipe):
  experiment = load_experiment(name, recipe)
  page = load_page(experiment.config)
  for label in experiment.variants:
    config = apply_overrides(page, experiment.settings(label))
    options = config.model.to_dict()
    create_model(options.pop("name"), **options)
    task_settings(config.task.to_dict())


def test_a_variant_trains(games, tmp_path):
  spec = plan(load_experiment("go_residual", "tiny"), tmp_path, seeds=1)[-1]
  data = {"data.name": f"go:{games}"}
  spec = dataclasses.replace(spec, overrides={**spec.overrides, **data})
  outcome = execute_run(spec.to_dict(), lambda step, total: None)
  assert (outcome["status"], outcome["reason"]) == ("done", "")


def test_figures_are_those_of_the_paper(shared):
  tables = json.loads((shared / "reference/papers/alphago_silver2016.json").read_text())["tables"]
  rows = next(table["rows"] for table in tables if table["id"] == "ext_table3")
  published = {
    (row["variant"]["filters"], row["variant"]["features"]): 1 - row["value"] / 100
    for row in rows
    if row["variant"]["symmetries"] == 1
  }
  features = load_experiment("go_features", "paper")
  for label, figure in features.paper.items():
    planes = features.variants[label]["task.planes"]
    assert figure.value == pytest.approx(published[192, planes])
  for label, figure in load_experiment("go_width", "paper").paper.items():
    assert figure.value == pytest.approx(published[int(label[1:]), 48])


def test_baselines_learn_what_always_follows(games):
  from cnnlab.data.go import open_go
  from cnnlab.data.settings import DataSettings

  train = baselines.read(open_go(str(games), DataSettings())[0], 400)
  answers = train.last >= 0
  answers &= train.move == train.last + 1
  found = baselines.pattern(train, train)
  assert answers.sum() > 50
  assert (found[answers] == train.move[answers]).mean() > 0.9
  blank = train._replace(stones=np.zeros_like(train.stones))
  turned = list(baselines.symmetric(blank))
  assert len({one.move.tobytes() for one in turned}) == 8
  # The distance between the last move and the reply is the same in all symmetries.
  for one in turned:
    apart = np.abs(one.last // 19 - one.move // 19) + np.abs(one.last % 19 - one.move % 19)
    assert (apart[answers] == 1).all()
