"""`cnnlab look`: pictures with their numbers beside them, and what it refuses before it writes."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.inspect.attribution import grad_cam
from cnnlab.runs import Run, load
from cnnlab.tasks import SavedFeature, create_task


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
    (["--what=units", "--units=3,x"], "allowed: numbers"),
    (["--what=units", "--units=800"], "from 0 to 7"),
    (["--what=units", "--stage=block3"], "did you mean 'block"),
    (["--what=style"], "needs --style=IMAGE"),
    (["--what=class_model", "--classes=dog"], "unknown class 'dog' of --classes"),
    (["--what=class_maps"], "has no maps of classes"),
    (["--size=64"], "for images that are given"),
    (["--size=1"], "allowed: 8 to 4096"),
    (["--octaves=0"], "allowed: 1 to 20"),
    (["--variation=-1"], "allowed: 0 and more"),
  ],
)
def test_what_makes_no_sense_writes_nothing(digits_run, tmp_path, capsys, arguments, words):
  out = tmp_path / "out"
  assert main(["look", f"--workdir={digits_run}", f"--out={out}", *arguments]) == 2
  assert words in capsys.readouterr().err
  assert not out.exists()


def test_units_and_images_that_are_made(digits_run, tmp_path):
  image, out = tmp_path / "digit.png", tmp_path / "out"
  pixels = np.random.default_rng(0).integers(0, 256, (24, 16), np.uint8)
  Image.fromarray(pixels).save(image)
  assert main([
    "look", f"--workdir={digits_run}", f"--out={out}", "--stage=block1", "--units=3,0",
    "--what=units,deconvolution,deep_dream,class_model,style", f"--style={image}", "--steps=2",
    "--octaves=1", "--jitter=1", "--classes=7,0", str(image),
  ]) == 2  # fmt: skip
  assert not out.exists()  # there is no conv4_2
  assert main([
    "look", f"--workdir={digits_run}", f"--out={out}", "--stage=block1", "--units=3,0",
    "--what=units,deconvolution,deep_dream,class_model", "--steps=2", "--size=8", "--octaves=1",
    "--jitter=1", "--classes=7,0", str(image),
  ]) == 0  # fmt: skip
  table = pd.read_csv(out / "units.csv")
  assert table["unit"].tolist() == [3, 0]
  run = load(digits_run)
  assert table["response"][0] == pytest.approx(
    run.trained.embeddings([str(image)], "block1", pooled=False)[..., 3].max(), abs=1e-5
  )
  assert np.load(out / "deconvolution.npz")["unit3"].shape == (1, 8, 8, 1)
  with Image.open(out / "deep_dream_digit.png") as made:
    assert (made.width, made.height) == (8, 12)  # its own aspect ratio
  for name in ("units", "deconvolution", "deep_dream", "class_model", "class_model_7"):
    assert (out / f"{name}.png").exists()


def other_network(digits_run, monkeypatch, name, task):
  """Gives the run another network, in memory, with weights that are not trained."""
  import jax

  from cnnlab.models import create_model

  model = create_model(name, num_classes=3, width=0.1)
  images = np.zeros((1, 16, 16, 3), np.float32)
  variables = jax.jit(lambda x: model.init(jax.random.key(0), x, train=False))(images)
  trained = load(digits_run).trained
  preprocess = dataclasses.replace(
    trained.preprocess, mean=np.zeros(3, np.float32), scale=np.full(3, 60, np.float32),
    stored_size=(16, 16), image_size=(16, 16),
  )  # fmt: skip
  other = dataclasses.replace(
    trained, task=task, model=model, variables=variables, preprocess=preprocess
  )
  monkeypatch.setattr(Run, "trained", other)


def test_a_network_of_another_task_shows_what_needs_no_classes(
  digits_run, tmp_path, capsys, monkeypatch
):
  features = {"image": SavedFeature("image"), "labels": SavedFeature("label_map", ("a", "b", "c"))}
  task = create_task({"name": "segmentation"}, features)
  other_network(digits_run, monkeypatch, "fcn32s_all_cnn_c", task)
  image, out = tmp_path / "cat.png", tmp_path / "out"
  Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)).save(image)
  arguments = ["look", f"--workdir={digits_run}", f"--out={out}", str(image)]
  assert main([*arguments, "--what=saliency"]) == 2
  assert "is no classifier" in capsys.readouterr().err
  what = "--what=filters,activations,class_maps,deep_dream"
  assert main([*arguments, what, "--octaves=1", "--steps=1"]) == 0
  assert np.load(out / "class_maps.npz")["maps"].shape == (1, 16, 16, 3)
  assert list(pd.read_csv(out / "class_maps.csv").columns) == ["image", "a", "b", "c"]
  assert (out / "deep_dream_cat.png").exists()


def test_moves_are_refused(digits_run, tmp_path, capsys, monkeypatch):
  other = load(digits_run).trained
  monkeypatch.setattr(type(other.task), "predicts_from", "games")
  assert main(["look", f"--workdir={digits_run}", f"--out={tmp_path / 'out'}"]) == 2
  assert "networks of gray or color images" in capsys.readouterr().err
