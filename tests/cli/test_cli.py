"""The command line as a user sees it: arguments, messages, output and exit codes."""

import json
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

import cnnlab
from cnnlab.cli.main import VERBS, main

PROJECT = pathlib.Path(__file__).parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  """A run of one epoch on digits, trained by the command line."""
  workdir = tmp_path_factory.mktemp("cli") / "run"
  arguments = ["--config.max_steps=22", "--config.model.features=(8,8)", "--config.optim.name=adam"]
  arguments += ["--config.optim.learning_rate=0.003", "--config.optim.weight_decay=0.0"]
  page = "--config=configs/digits.py:tiny"
  assert main(["train", page, f"--workdir={workdir}", *arguments]) == 0
  return workdir


def test_help_takes_less_than_a_second_and_no_jax():
  started = time.perf_counter()
  done = subprocess.run(
    [sys.executable, "-X", "importtime", "-m", "cnnlab", "--help"],
    capture_output=True, text=True, check=True, cwd=PROJECT,
  )  # fmt: skip
  seconds = time.perf_counter() - started
  assert seconds < 1.0
  assert "jax" not in done.stderr
  assert all(verb in done.stdout for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
  with pytest.raises(SystemExit) as caught:
    main([verb, "--help"])
  assert caught.value.code == 0
  assert f"cnnlab {verb}" in capsys.readouterr().out


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["trian"], ["'trian'", "did you mean 'train'"]),
    (["train", "--config=configs/digits.py"], ["--workdir is required"]),
    (["train", "--config=configs/nope.py", "--workdir=x"], ["'configs/nope.py'"]),
    (["eval", "--workdir=nowhere"], ["nowhere", "no checkpoint"]),
    (["predict", "--workdir=nowhere", "a.png"], ["nowhere"]),
    (["runs", "nowhere"], ["nowhere"]),
    (["report", "nowhere"], ["nowhere"]),
    (["sweep", "experiments/downsampling_digit"], ["downsampling_digits"]),
    (["sweep", "experiments/downsampling_digits", "--on=slrum"], ["'slrum'", "local"]),
    (["models", "resnett*"], ["resnett"]),
    (["bench", "--model=resnet21"], ["'resnet21'"]),
    (["bench", "--model=resnet20", "--option", "norm"], ["KEY=VALUE"]),
    (["bench", "--model=resnet20", "--batch_size=0"], ["--batch_size is 0"]),
  ],
)
def test_user_errors_give_one_line_and_exit_code_2(arguments, words, capsys, tmp_path):
  assert main([*arguments]) == 2
  error = capsys.readouterr().err
  assert "Traceback" not in error
  assert all(word in error for word in words), error


def test_a_run_directory_is_readable_as_plain_json(trained):
  config = json.loads((trained / "config.json").read_text())
  assert config["optim"]["name"] == "adam"
  assert config["derived"]["total_steps"] == 22
  assert config["derived"]["num_classes"] == 10
  environment = json.loads((trained / "environment.json").read_text())
  assert {"python", "packages", "devices", "git", "command"} <= environment.keys()
  assert json.loads((trained / "status.json").read_text())["status"] == "done"
  rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
  assert [row["step"] for row in rows] == list(range(1, 23))
  assert rows[-1]["eval/count"] == 359
  assert list((trained / "tensorboard").glob("events.*"))


def test_a_run_reads_back_from_python(trained):
  run = cnnlab.runs.load(trained)
  assert run.config.model.name == "convnet"
  assert list(run.metrics["step"]) == list(range(1, 23))
  images = np.zeros((2, 8, 8, 1), np.float32)
  logits, feats = run.model.apply(run.variables, images, train=False)
  assert logits.shape == (2, 10)
  assert "block1" in feats
  alone = cnnlab.runs.load(trained / "checkpoints" / "22")
  np.testing.assert_array_equal(
    alone.variables["params"]["head"]["kernel"], run.variables["params"]["head"]["kernel"]
  )


def test_evaluation_gives_the_metrics_of_training(trained, capsys, tmp_path):
  last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
  for directory in (trained, trained / "checkpoints" / "22"):
    capsys.readouterr()
    assert main(["eval", f"--workdir={directory}", "--config.eval_batch_size=100"]) == 0
    metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert metrics["eval/count"] == 359
    assert metrics["eval/top1"] == last["eval/top1"]
    assert metrics["eval/cross_entropy"] == pytest.approx(last["eval/cross_entropy"], rel=1e-5)


def test_evaluation_refuses_overrides_of_the_network(trained, capsys):
  assert main(["eval", f"--workdir={trained}", "--config.model.width=2"]) == 2
  assert "cannot change in an evaluation" in capsys.readouterr().err


def test_predictions_are_probabilities_of_named_classes(trained, capsys, tmp_path):
  from sklearn.datasets import load_digits

  paths = []
  for index in range(3):
    path = tmp_path / f"{index}.png"
    image = (load_digits().images[index] * 255 / 16).round().astype(np.uint8)
    Image.fromarray(image).resize((64, 64), Image.Resampling.NEAREST).save(path)
    paths.append(str(path))
  assert main(["predict", f"--workdir={trained}", "--json", *paths]) == 0
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [line["image"] for line in lines] == paths
  for line in lines:
    assert list(line["probabilities"]) == [str(digit) for digit in range(10)]
    assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-5)
  assert main(["predict", f"--workdir={trained}", "--top=2", paths[0]]) == 0
  assert "%" in capsys.readouterr().out


def test_a_file_that_is_not_an_image_is_named(trained, capsys, tmp_path):
  path = tmp_path / "notes.png"
  path.write_text("not an image")
  assert main(["predict", f"--workdir={trained}", str(path)]) == 2
  assert "notes.png" in capsys.readouterr().err


def test_runs_lists_the_run(trained, capsys):
  assert main(["runs", str(trained.parent), "--csv"]) == 0
  out = capsys.readouterr().out
  assert "run,status" in out
  assert "done" in out
  assert main(["runs", str(trained.parent)]) == 0
  assert "done" in capsys.readouterr().out


def test_bench_ends_with_json(capsys):
  arguments = ["--image_size=8", "--batch_size=4", "--channels=1", "--seconds=0.01", "--repeats=2"]
  assert main(["bench", "--model=convnet", "--option", "features=(2,2)", *arguments]) == 0
  result = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert {
    "model", "batch_size", "image_size", "dtype", "devices", "compile_s", "step_ms", "images_per_s",
    "gflops_per_image",
  } <= result.keys()  # fmt: skip
  assert result["images_per_s"] == pytest.approx(4e3 / result["step_ms"]["median"], rel=0.01)


def test_a_tiny_sweep_ends_in_a_table_and_a_report(capsys, tmp_path):
  root = ["--root", str(tmp_path)]
  arguments = ["downsampling_digits", "--recipe=tiny", "--only=max stride", "--seeds=2", *root]
  assert main(["sweep", *arguments, "--dry_run"]) == 0
  assert "4 of 4 runs to do" in capsys.readouterr().out
  assert main(["sweep", *arguments]) == 0
  assert "report.html" in capsys.readouterr().out
  (tmp_path / "downsampling_digits" / "report" / "report.html").unlink()
  assert main(["report", str(tmp_path)]) == 0
  assert (tmp_path / "downsampling_digits" / "report" / "report.html").is_file()
