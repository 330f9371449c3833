"""Wrong configs stop a run before it starts, with a message that says what to do; nothing is lost."""

import json
import math

import pytest

from cnnlab.errors import CnnlabError, ConfigError, DataError, DivergedError, RunError, ShapeError
from cnnlab.runs import checkpoint
from cnnlab.train import train
from cnnlab.train.setup import prepare
from tests.train.conftest import tiny


@pytest.mark.parametrize(
  ("overrides", "kind", "words"),
  [
    ({"optim.b1": 0.8}, ConfigError, ["'optim.b1'", "nothing in this run reads it"]),
    ({"schedule.boundaries": (0.1,)}, ConfigError, ["'schedule.boundaries'", "schedule.name='cosine'"]),
    ({"data.dir": "x"}, ConfigError, ["'data.dir'", "data.name='digits'"]),
    ({"model.name": "resnet21"}, ConfigError, ["'resnet21'", "'resnet20'"]),
    ({"model.fetures": (4,)}, ConfigError, ["'fetures'", "did you mean 'features'"]),
    ({"model.features": "4"}, ConfigError, ["'features'", "'4'"]),
    ({"model.num_classes": 5}, ConfigError, ["'model.num_classes' is 5", "10 classes"]),
    ({"optim.name": "sdg"}, ConfigError, ["'sdg'", "did you mean 'sgd'"]),
    ({"schedule.name": "cosin"}, ConfigError, ["'cosin'", "did you mean 'cosine'"]),
    ({"task.name": "classify"}, ConfigError, ["'classify'", "'classification'"]),
    ({"dtype": "float16"}, ConfigError, ["'float16'", "'bfloat16'"]),
    ({"parallel": "pmapp"}, ConfigError, ["'pmapp'", "'pmap'"]),
    ({"epochs": 0.0}, ConfigError, ["'epochs'", "nothing to train"]),
    ({"epochs": -1.0}, ConfigError, ["'epochs'", "-1"]),
    ({"log_every_steps": 0}, ConfigError, ["'log_every_steps'", "1 and more"]),
    ({"optim.learning_rate": 0.0}, ConfigError, ["'optim.learning_rate'", "over 0"]),
    ({"optim.weight_decay": -0.1}, ConfigError, ["'optim.weight_decay'", "0 and more"]),
    ({"ema_decay": 1.0}, ConfigError, ["'ema_decay'", "below 1"]),
    ({"task.label_smoothing": 1.0}, ConfigError, ["'task.label_smoothing'", "below 1"]),
    ({"schedule.warmup_epochs": 9.0}, ConfigError, ["'schedule.warmup_epochs'", "2 steps"]),
    ({"data.name": "digit"}, DataError, ["'digit'", "did you mean 'digits'"]),
    ({"data.name": "tfds:cifar10", "data.dir": "nowhere"}, DataError, ["nowhere", "download_and_prepare"]),
    ({"data.name": "folder:nowhere"}, DataError, ["nowhere"]),
    ({"data.centering": "chanel"}, (ConfigError, DataError), ["'chanel'", "'channel'"]),
    ({"optim.groups": ({"pattern": "blok1*"},)}, ConfigError, ["'blok1*'", "'block1_conv1'"]),
    ({"accumulate": 3}, ConfigError, ["'accumulate' is 3", "a divisor of batch_size"]),
    ({"steps_per_call": 0}, ConfigError, ["'steps_per_call' is 0", "1 and more"]),
    ({"data.transforms": ("flp",)}, DataError, ["'flp'", "did you mean 'flip'"]),
    ({"data.mix": ("mixup(alpha=0.0)",)}, ConfigError, ["alpha' is 0.0", "0.001"]),
    ({"batch_size": 5000}, DataError, ["5000", "1438"]),
    ({"seed": 2**32}, ConfigError, ["'seed' is 4294967296", "to 4294967295"]),
    ({"optim.momentum": math.nan}, ConfigError, ["'optim.momentum' is nan", "below 1", "finite"]),
    ({"optim.momentum": 5.0}, ConfigError, ["'optim.momentum' is 5.0", "from 0 to below 1"]),
    ({"optim.groups": ({"pattern": "*", "rate": math.nan},)}, ConfigError, ["'optim.groups'", "nan", "finite"]),
    ({"schedule.final_factor": -1.0}, ConfigError, ["'schedule.final_factor'", "from 0 to 1"]),
    ({"max_steps": 10**30}, ConfigError, ["'max_steps'", "up to 2147483647"]),
    ({"init_from": "x" * 20_000}, ConfigError, ["'init_from'", "20002 characters", "up to 1000 characters"]),
    ({"data.image_size": 9_000}, ConfigError, ["'data.image_size'", "GB of memory"]),
    ({"data.crop_padding": 10**9}, DataError, ["crop(padding=1000000000)", "at most 7"]),
    ({"data.workers": 5000, "data.placement": "stream"}, ConfigError, ["'data.workers' is 5000"]),
    ({"data.transforms": ("color(brightness=1e999)",)}, ConfigError, ["color.brightness' is inf"]),
    ({"model.features": (-1,)}, ConfigError, ["'features'", "(-1,)", "from 1 to 1000000"]),
    ({"model.features": (10**6, 10**6)}, ConfigError, ["'model'", "TB of memory"]),
    ({"model.num_classes": 0}, ConfigError, ["'num_classes'", "0 is not int from 1"]),
    ({"task.label_smoothing": True}, ConfigError, ["'task.label_smoothing' is True"]),
    ({"model.dtype": "bfloat16"}, ConfigError, ["'model.dtype'", "config key 'dtype'"]),
    ({"model.name": ["a"]}, ConfigError, ["unknown model ['a']"]),
    ({"model.features": (4, 4, 4, 4)}, ShapeError, ["8x8", "16"]),
  ],
)  # fmt: skip
def test_wrong_configs_stop_before_anything_is_written(workdir, overrides, kind, words):
  with pytest.raises(kind) as caught:
    train(tiny(**overrides), workdir, asked=overrides)
  assert isinstance(caught.value, CnnlabError)
  assert all(word in str(caught.value) for word in words), caught.value
  assert not workdir.exists()


def test_an_evaluation_batch_is_no_larger_than_its_split():
  setup = prepare(tiny(eval_batch_size=10**9))
  assert setup.resolved["derived"]["eval_batch_size"] == setup.data.eval.num_examples
  assert setup.data.eval.num_eval_batches == 1


def test_a_workdir_with_another_config_is_refused_and_untouched(workdir):
  train(tiny(), workdir)
  before = {
    p: p.read_bytes() for p in workdir.rglob("*") if p.is_file() and not p.name.startswith(".lease")
  }
  with pytest.raises(RunError) as caught:
    train(tiny(seed=1, max_steps=3), workdir)
  assert "seed is 0 there, 1 here" in str(caught.value)
  assert "max_steps is 2 there, 3 here" in str(caught.value)
  after = {
    p: p.read_bytes() for p in workdir.rglob("*") if p.is_file() and not p.name.startswith(".lease")
  }
  assert after == before


def test_a_workdir_with_strange_files_is_refused(workdir):
  workdir.mkdir()
  (workdir / "thesis.tex").write_text("years of work")
  with pytest.raises(RunError, match=r"thesis\.tex"):
    train(tiny(), workdir)
  assert [p.name for p in workdir.iterdir()] == ["thesis.tex"]


def test_a_finished_run_is_not_trained_again(workdir):
  first = train(tiny(), workdir)
  steps = []
  assert train(tiny(), workdir, progress=lambda step, total: steps.append(step)) == first
  assert steps == []


def test_a_run_that_was_killed_before_it_could_say_done_says_it_now(workdir):
  first = train(tiny(), workdir)
  status = json.loads((workdir / "status.json").read_text())
  (workdir / "status.json").write_text(json.dumps(status | {"status": "running", "metrics": None}))
  assert train(tiny(), workdir) == first
  assert json.loads((workdir / "status.json").read_text())["metrics"] == first


def test_divergence_is_recorded_and_the_last_good_checkpoint_kept(workdir):
  config = tiny(
    max_steps=40, optim__learning_rate=100.0, optim__weight_decay=1.0, checkpoint_every_steps=1
  )
  with pytest.raises(DivergedError, match=r"the last good checkpoint is step \d+"):
    train(config, workdir)
  status = json.loads((workdir / "status.json").read_text())
  assert status["status"] == "diverged"
  assert "gradient norm" in status["reason"] or "evaluation" in status["reason"]
  good = checkpoint.restore(workdir)
  assert 0 < good["step"] < 40
  with pytest.raises(DivergedError, match="the same config would do so again"):
    train(config, workdir)
