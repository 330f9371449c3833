import pytest

import cnnlab.runs
from cnnlab.cli.main import main
from cnnlab.errors import ConfigError, RunError
from cnnlab.runs.selection import choose
from cnnlab.runs.table import entries, table_of, telling_keys, varying_keys
from tests.runs.synthetic import write_run


@pytest.fixture
def root(tmp_path):
  write_run(tmp_path / "a", errors=(0.4, 0.1, 0.2), config={"model.name": "resnet20"})
  write_run(tmp_path / "b", config={"model.name": "vgg11", "optim.learning_rate": 0.5, "seed": 3})
  write_run(tmp_path / "c", status="failed", reason="DataError: no file")
  return tmp_path


@pytest.mark.parametrize(
  ("conditions", "names"),
  [
    ((), "abc"),
    (["status=done"], "ab"),
    (["status!=done"], "c"),
    (["model.name=RES*"], "a"),
    (["optim.learning_rate<0.5"], "ac"),
    (["optim.learning_rate>=0.5"], "b"),
    (["optim.learning_rate=0.50"], "b"),
    (["eval/error<=0.125"], "bc"),
    (["model.features=[16, 32]", "seed=0"], "ac"),
    (["status=done", "seed=0"], "a"),
    (["model.name<3"], ""),
  ],
)
def test_conditions(root, conditions, names):
  assert "".join(entry.name for entry in choose(entries(root), conditions)) == names


@pytest.mark.parametrize(
  ("condition", "message"), [("status", "no relation"), ("statsu=done", "did you mean 'status'")]
)
def test_conditions_that_cannot_be_met_are_refused(root, condition, message):
  with pytest.raises(ConfigError, match=message):
    choose(entries(root), [condition])


def test_compare_is_a_table_of_what_differs_and_what_came_of_it(root):
  table = cnnlab.runs.compare(root)
  assert list(table.index) == ["a", "b", "c"]
  assert table.loc["a", "eval/error"] == 0.2
  assert table.loc["a", "best eval/error"] == 0.1
  assert table.loc["b", "optim.learning_rate"] == 0.5
  assert table.loc["c", "status"] == "failed"
  assert table.loc["a", "parameters"] == 1000
  assert "batch_size" not in table
  two = cnnlab.runs.compare([root / "b", cnnlab.runs.load(root / "a")])
  assert list(two.index) == ["b", "a"]
  with pytest.raises(RunError, match="does not exist"):
    cnnlab.runs.compare([root / "none"])
  assert cnnlab.runs.compare([]).empty


def test_the_keys_that_tell_runs_apart():
  configs = [
    {
      "model.name": name,
      "seed": seed,
      "twice_seed": 2 * seed,
      "data.name": "x",
      "late": name == "b",
    }
    for name in "ab"
    for seed in range(3)
  ]
  assert varying_keys(configs) == ["late", "model.name", "seed", "twice_seed"]
  chosen = telling_keys(configs, 2)
  assert chosen[0] == "model.name"
  assert chosen[1] in ("seed", "twice_seed")
  assert telling_keys(configs, 4) == varying_keys(configs)


def test_columns_take_the_place_of_the_differences(root, capsys):
  table = table_of(entries(root), ["seed", "train/loss"])
  assert "differs" not in table
  assert list(table["seed"]) == [0, 3, 0]
  assert main(["runs", str(root), "--columns=seed", "--where=status=done", "--csv"]) == 0
  lines = capsys.readouterr().out.splitlines()
  assert lines[0].split(",")[-2:] == ["seed", "reason"]
  assert len(lines) == 3
  assert main(["runs", str(root), "--columns=sead"]) == 2
  assert "did you mean 'seed'" in capsys.readouterr().err


def test_the_last_value_comes_before_the_best(root, capsys):
  assert main(["runs", str(root)]) == 0
  text = capsys.readouterr().out
  assert text.index("last") < text.index("best")
  row = next(line for line in text.splitlines() if " a " in line)
  assert row.index("20.00") < row.index("10.00")
