"""`cnnlab look`: pictures with their numbers beside them, and what it refuses before it writes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.inspect.attribution import grad_cam
from cnnlab.runs import Run, load


def test_pictures_and_their_numbers_are_written(digits_run, tmp_path):
  image = tmp_path / "digit.png"
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)).save(image)
  out, methods = tmp_path / "out", "filters,activations,integrated_gradients,grad_cam"
  arguments = ["look", f"--workdir={digits_run}", f"--out={out}", f"--what={methods}"]
  assert main([*arguments, "--stage=block1", str(image)]) == 0
  for name in ("filters", "activations", "attributions"):
    with Image.open(out / f"{name}.png") as picture:
      assert picture.width > 300
    assert len(pd.read_csv(out / f"{name}.csv"))
  run, saved = load(digits_run), np.load(out / "attributions.npz")
  expected = grad_cam(run, run.preprocess(image), stage="block1")
  np.testing.assert_allclose(saved["grad_cam"], expected, atol=1e-6)
  table = pd.read_csv(out / "attributions.csv")
  assert table["class"][0] == run.trained.task.class_names.index(run.predict(image).classes[0])
  total, difference = table["sum_of_integrated_gradients"][0], table["difference_to_baseline"][0]
  assert total == pytest.approx(difference, rel=0.05, abs=0.02)
  assert main([*arguments, str(image)]) == 2  # there is something in it now


def test_the_split_is_attacked(digits_run, tmp_path):
  out = tmp_path / "out"
  assert main([
    "look", f"--workdir={digits_run}", f"--out={out}", "--what=adversarial", "--epsilons=0,32",
    "--examples=30",
  ]) == 0  # fmt: skip
  table = pd.read_csv(out / "adversarial.csv").set_index(["attack", "epsilon"])["accuracy"]
  assert table["fgsm", 32] < table["fgsm", 0]
  assert (out / "adversarial.png").exists()


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["--what=salience"], "did you mean 'saliency'"),
    (["--what=grad_cam", "--stage=block3"], "did you mean 'block"),
    (["--epsilons=0,x"], "numbers from 0 to 255"),
    (["--count=0"], "allowed: 1 to 24"),
    (["--what=saliency", "nowhere.png"], "nowhere.png"),
  ],
)
def test_what_makes_no_sense_writes_nothing(digits_run, tmp_path, capsys, arguments, words):
  out = tmp_path / "out"
  assert main(["look", f"--workdir={digits_run}", f"--out={out}", *arguments]) == 2
  assert words in capsys.readouterr().err
  assert not out.exists()


def test_another_task_is_refused(digits_run, tmp_path, capsys, monkeypatch):
  other = dataclasses.replace(load(digits_run).trained, task=None)
  monkeypatch.setattr(Run, "trained", other)
  assert main(["look", f"--workdir={digits_run}", f"--out={tmp_path / 'out'}"]) == 2
  assert "runs of classification only" in capsys.readouterr().err
