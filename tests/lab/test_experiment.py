import json

import pytest

from cnnlab.errors import ConfigError, RunError
from cnnlab.lab.claim import Claim
from cnnlab.lab.experiment import Published, from_json, read_experiment
from cnnlab.lab.files import load_experiment
from cnnlab.lab.new import write_new
from cnnlab.lab.plan import plan, plan_tuning, resolve
from cnnlab.train.setup import prepare
from tests.lab.conftest import make_experiment


def test_json_and_back():
  experiment = make_experiment(
    variants={"base": {}, "better": {"model.features": [1, 2]}}, paper={}
  )
  assert from_json(json.loads(json.dumps(experiment.to_json()))) == experiment


def test_json_of_a_later_version_is_read():
  value = make_experiment().to_json() | {"invented_later": 1}
  assert from_json(value).claims[0].margin == 0.01


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"base": "bas"}, "variant as base 'bas'.*'base'"),
    ({"mode": "minimum"}, "unknown mode"),
    ({"seeds": ()}, "seeds must be distinct"),
    ({"seeds": (1, 1)}, "seeds must be distinct"),
    ({"variants": {"base": {"seed": 3}, "better": {}}}, "sets 'seed'"),
    ({"variants": {"base": {}, "../up": {}}}, "names a folder"),
    ({"name": "a/b"}, "names a folder"),
    ({"seeds": (-1,)}, "allowed: 0 to"),
    ({"seeds": (0.5,)}, "seeds is .* allowed: tuple of int"),
    ({"variants": {"base": {}, 3: {}}}, "variant label 3 names a folder"),
    ({"variants": {"base": {}, "x" * 300: {}}}, "up to 100 letters"),
    ({"pairing": "images"}, "unknown pairing"),
    ({"claims": (Claim("c", "betta", "<", "base", "s"),)}, "did you mean 'better'"),
    ({"paper": {"bse": Published(0.1, "s")}}, "paper's figure 'bse'"),
  ],
)
def test_what_cannot_be_used_is_named(changes, message):
  with pytest.raises(ConfigError, match=message):
    make_experiment(**changes)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"relation": "=<"}, "unknown relation '=<'"),
    ({"right": "a"}, "both sides are 'a'"),
    ({"margin": float("nan")}, "margin is nan"),
    ({"relation": "=="}, "'==' needs a margin over 0"),
    ({"factor": 0}, "factor is 0"),
    ({"equal": "parameter"}, "did you mean 'parameters'"),
    ({"metric": "eval/error@epoch=3"}, "cannot read the metric 'eval/error@epoch=3'"),
  ],
)
def test_a_claim_that_cannot_be_used_is_named(changes, message):
  fields = {"text": "c", "left": "a", "relation": "<", "right": "b", "source": "s"}
  with pytest.raises(ConfigError, match=f"claim 'c'.*{message}|{message}"):
    Claim(**fields | changes)


def test_incomplete_json():
  value = make_experiment().to_json()
  del value["question"]
  with pytest.raises(ConfigError, match="question"):
    from_json(value)


def test_read_experiment_needs_a_sweep(tmp_path):
  with pytest.raises(RunError, match="is not a sweep"):
    read_experiment(tmp_path)
  (tmp_path / "experiment.json").write_text("{}")
  with pytest.raises(RunError, match=r"experiment\.json: not an experiment"):
    read_experiment(tmp_path)


@pytest.mark.parametrize(
  "name",
  [
    "downsampling_digits",
    "experiments/downsampling_digits",
    "experiments/downsampling_digits/experiment.py",
  ],
)
def test_loads_by_name_folder_and_file(name):
  experiment = load_experiment(name)
  assert experiment.name == "downsampling_digits"
  assert list(experiment.variants) == ["max", "avg", "stride", "conv"]


def test_unknown_experiment_and_recipe_name_the_nearest():
  with pytest.raises(ConfigError, match=r"downsampling_digit'.*experiments/downsampling_digits"):
    load_experiment("experiments/downsampling_digit")
  with pytest.raises(ConfigError, match="unknown recipe 'tinny'.*'tiny'"):
    load_experiment("downsampling_digits", "tinny")


@pytest.mark.parametrize(
  ("code", "message"),
  [
    ("x = 1", "defines no get_experiment"),
    ("def get_experiment(recipe=''): return 3", "returned int"),
    (
      "def get_experiment(recipe=''):\n  return 1 / 0",
      r"experiment\.py, line 2: ZeroDivisionError",
    ),
    ("def get_experiment(recipe='')\n  pass", r"experiment\.py, line 1: SyntaxError"),
    ("import helper_that_is_missing", r"line 1: ModuleNotFoundError"),
  ],
)
def test_file_that_gives_no_experiment(tmp_path, code, message):
  (tmp_path / "experiment.py").write_text(code)
  with pytest.raises(ConfigError, match=message):
    load_experiment(str(tmp_path))


EXPERIMENT = """
from cnnlab.lab import Experiment
from helper_of_this_test import VARIANTS

def get_experiment(recipe=""):
  return Experiment(
    name="mine", question="Does it?", config="page.py:small", variants=VARIANTS, base="a", recipe="")
"""


def test_modules_and_pages_beside_a_file_are_found(tmp_path):
  (tmp_path / "experiment.py").write_text(EXPERIMENT)
  (tmp_path / "helper_of_this_test.py").write_text("VARIANTS = {'a': {}, 'b': {'epochs': 1.0}}")
  (tmp_path / "page.py").write_text("")
  experiment = load_experiment(str(tmp_path))
  assert experiment.config == f"{tmp_path / 'page.py'}:small"
  assert experiment.file == str(tmp_path / "experiment.py")
  with pytest.raises(ConfigError, match="recipe 'quick' was asked for"):
    load_experiment(str(tmp_path), "quick")


def test_a_new_experiment_can_be_swept_as_it_is(tmp_path):
  file = write_new(tmp_path / "my pooling")
  experiment = load_experiment(str(file.parent), "tiny")
  assert (experiment.name, experiment.recipe) == ("my_pooling", "tiny")
  specs = [*plan_tuning(experiment, tmp_path / "runs"), *plan(experiment, tmp_path / "runs")]
  assert len(specs) == 4 * 3 + 4 * 5
  setup = prepare(resolve(specs[-1]), specs[-1].overrides)
  assert setup.plan.total_steps == 2
  with pytest.raises(ConfigError, match="exists already"):
    write_new(tmp_path / "my pooling")
