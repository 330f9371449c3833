"""The verbs that use a finished run, as on the command line."""

import json
import runpy
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnlab.cli.main import main


def test_evaluation_shows_tables_and_saves_all(digits_run, tmp_path, capsys):
  out = tmp_path / "evaluation"
  arguments = ["eval", f"--workdir={digits_run}/checkpoints/best", f"--out={out}"]
  assert main([*arguments, "--per_class", "--confusion", "--calibration"]) == 0
  printed = capsys.readouterr().out
  metrics = json.loads(printed.splitlines()[-1])
  for title in ("per class", "confusion", "calibration", "expected calibration error (15 bins"):
    assert title in printed
  examples = pd.read_csv(out / "examples.csv")
  wrong = (examples["label"] != examples["prediction"]).sum()
  assert wrong == examples["error"].sum() == round(metrics["eval/error"] * len(examples))
  assert pd.read_csv(out / "per_class.csv")["errors"].sum() == examples["error"].sum()
  confused = pd.read_csv(out / "confusion.csv").set_index("class").to_numpy()
  assert confused.sum() - np.trace(confused) == examples["error"].sum()
  for name in ("confusion", "calibration", "mistakes"):
    with Image.open(out / f"{name}.png") as picture:
      assert picture.width > 300
  assert main(arguments) == 2
  assert "already exists; name a new directory" in capsys.readouterr().err


def test_a_folder_is_predicted(digits_run, tmp_path, capsys):
  for name in ("b.png", "a.png"):
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / name)
  assert main(["predict", f"--workdir={digits_run}", "--json", str(tmp_path)]) == 0
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [line["image"] for line in lines] == [str(tmp_path / "a.png"), str(tmp_path / "b.png")]


def test_export_tells_what_the_program_takes(digits_run, tmp_path, capsys):
  file = tmp_path / "new" / "x.safetensors"
  arguments = ["export", f"--workdir={digits_run}", "--format=safetensors", f"--out={file}"]
  assert main(arguments) == 0
  told = json.loads(capsys.readouterr().out)
  assert told["file"] == str(file)
  assert told["input"]["shape"] == ["batch", 8, 8, 1]
  assert told["outputs"]["probabilities"]["shape"] == ["batch", 10]
  assert main(arguments) == 2
  assert "exists" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["normalization.importance", "stochastic_depth.step_time"])
def test_a_script_of_an_experiment_without_runs_says_so(module, tmp_path, monkeypatch, capsys):
  for arguments in ([], [str(tmp_path / "none")]):
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as caught:
      runpy.run_module(f"experiments.{module}", run_name="__main__")
    assert caught.value.code == 2
    assert "error: " in capsys.readouterr().err.splitlines()[-1]
