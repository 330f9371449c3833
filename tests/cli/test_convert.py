"""`cnnlab convert`: makes a run from torchvision's weights, for predictions and for training."""

import argparse
import json

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from cnnlab import runs
from cnnlab.cli import convert
from cnnlab.cli.main import main
from cnnlab.models import create_model
from cnnlab.tasks import Segmentation, saved_task
from cnnlab.weights import from_torchvision
from tests import parity_weights

# The smallest net that has a fixture.
NAME = "resnet18"


@pytest.fixture(scope="module")
def tensors(project):
  fixture = json.loads((project / f"tests/fixtures/parity/{NAME}.json").read_text())
  return {n: np.asarray(parity_weights.tensor(n, tuple(s))) for n, s in fixture["state_dict"]}


@pytest.fixture(scope="module")
def weights(tensors, tmp_path_factory):
  path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
  save_file(tensors, path)
  return str(path)


@pytest.fixture(scope="module")
def converted(weights, tmp_path_factory):
  out = tmp_path_factory.mktemp("converted") / "run"
  assert main(["convert", "--model", NAME, "--weights", weights, "--out", str(out)]) == 0
  return out


def test_the_run_reads_back(converted, tensors):
  run = runs.load(converted)
  assert run.status["status"] == "done"
  assert run.config.derived.class_names[:2] == ["tench", "goldfish"]
  assert (run.config.derived.num_classes, run.config.derived.parameters) == (1000, 11_689_512)
  assert run.model.num_classes == 1000
  expected = from_torchvision(NAME, tensors)[1]
  jax.tree.map(np.testing.assert_array_equal, expected, run.variables)


def test_predictions_are_those_of_torchvision(converted, tensors, tmp_path, capsys):
  rng = np.random.default_rng(0)
  smooth = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
  image = Image.fromarray(smooth).resize((256, 256), Image.Resampling.BICUBIC)
  image.save(tmp_path / "x.png")
  assert main(["predict", "--workdir", str(converted), "--json", str(tmp_path / "x.png")]) == 0
  found = json.loads(capsys.readouterr().out.splitlines()[-1])["probabilities"]
  # In torchvision: ToTensor, CenterCrop(224), Normalize(mean, std).
  x = (np.asarray(image)[16:240, 16:240] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
  model, variables = from_torchvision(NAME, tensors)
  logits = model.apply(variables, x[None].astype(np.float32), train=False)[0]
  np.testing.assert_allclose(
    list(found.values()), np.asarray(jax.nn.softmax(logits[0])), rtol=1e-3, atol=1e-6
  )


def test_another_number_of_classes_gives_a_new_head(weights, tensors, tmp_path):
  out = tmp_path / "three"
  command = ["convert", "--model", NAME, "--weights", weights, "--num_classes", "3"]
  assert main([*command, "--out", str(out)]) == 0
  run = runs.load(out)
  assert run.config.derived.class_names == ["class 0", "class 1", "class 2"]
  assert run.variables["params"]["head"]["kernel"].shape == (512, 3)
  np.testing.assert_array_equal(
    run.variables["params"]["conv1"]["kernel"], tensors["conv1.weight"].transpose(2, 3, 1, 0)
  )


def test_an_existing_directory_is_not_changed(converted, weights, capsys):
  before = (converted / "config.json").read_text()
  command = ["convert", "--model", "resnet18", "--weights", weights, "--out", str(converted)]
  assert main([*command, "--num_classes", "3"]) == 2
  assert "already exists" in capsys.readouterr().err
  assert (converted / "config.json").read_text() == before


def test_wrong_weights_leave_nothing_behind(weights, tmp_path, capsys):
  out = tmp_path / "run"
  assert main(["convert", "--model", "resnet34", "--weights", weights, "--out", str(out)]) == 2
  assert "missing: layer1.2.bn1.bias" in capsys.readouterr().err
  assert not out.exists()


def test_a_segmentation_net_predicts_the_classes_of_pascal_voc():
  arguments = argparse.Namespace(model="fcn_resnet50", weights="fcn.pth")
  config = convert._config(arguments, create_model("fcn_resnet50"), (64, 64))
  assert config["task"] == {"name": "segmentation"}
  task = saved_task(config)
  assert isinstance(task, Segmentation)
  assert (task.class_names[0], task.class_names[20]) == ("background", "tvmonitor")
  assert len(task.class_names) == 21
  assert config["derived"]["main_metric"][0] == "eval/miou"
