"""`cnnlab convert`: makes a run from torchvision's weights, for predictions and for training."""

import argparse
import json
import re
import types

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file

from cnnlab import runs
from cnnlab.cli import convert
from cnnlab.cli.main import main
from cnnlab.defaults import default_config
from cnnlab.errors import DataError
from cnnlab.models import create_model
from cnnlab.tasks import Segmentation, saved_task
from cnnlab.train.init_from import start_from
from cnnlab.train.restore import _require_same_classes
from cnnlab.train.state import State
from cnnlab.weights import from_torchvision
from cnnlab.weights.to_torchvision import to_torchvision
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
  arguments = argparse.Namespace(model="fcn_resnet50", weights="fcn.pth", class_names=None)
  taken = convert.Input(64, 64, np.zeros(3), np.ones(3))
  config = convert._config(arguments, default_config(), create_model("fcn_resnet50"), taken)
  assert config["task"] == {"name": "segmentation"}
  task = saved_task(config)
  assert isinstance(task, Segmentation)
  assert (task.class_names[0], task.class_names[20]) == ("background", "tvmonitor")
  assert len(task.class_names) == 21
  assert config["derived"]["main_metric"][0] == "eval/miou"


SMALL = ("--config.model.blocks=1", "--config.model.filters=(4,8,16)")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
  """Weights of a small CIFAR net under the names of its ports, with a class for each third."""
  net = create_model("resnet20", blocks=1, filters=(4, 8, 16), shortcut_padding="both")
  variables = net.init(jax.random.key(0), np.zeros((1, 32, 32, 3)), train=False)
  variables = jax.tree.map(lambda leaf: leaf + 0.01, dict(variables))
  tensors = to_torchvision("resnet20", net, variables)
  named = {name.replace("fc.", "linear."): array for name, array in tensors.items()}
  path = tmp_path_factory.mktemp("cifar") / "small.npz"
  np.savez(path, **named)
  return net, variables, str(path)


@pytest.fixture(scope="module")
def encoder(cifar, tmp_path_factory):
  """The small net without its classifier, of two files that hold a part each."""
  folder = tmp_path_factory.mktemp("encoder")
  with np.load(cifar[2]) as tensors:
    parts = [{}, {}]
    for name in (one for one in tensors.files if not one.startswith("linear")):
      parts[name.startswith("layer3")][name] = tensors[name]
  files = [folder / "a.npz", folder / "b.npz"]
  for file, part in zip(files, parts, strict=True):
    np.savez(file, **part)
  command = ["convert", "--model=resnet20", "--num_classes=0", "--scale=1", *SMALL]
  command += ["--config.model.shortcut_padding=both", f"--out={folder}/run", "--weights"]
  assert main([*command, *map(str, files)]) == 0
  return folder / "run"


def test_an_encoder_gives_the_maps_of_the_whole_net(encoder, cifar, tmp_path, capsys):
  net, variables, _ = cifar
  run = runs.load(encoder)
  assert "head" not in run.variables["params"]
  assert run.config.derived.weights == "a.npz, b.npz"
  image = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
  stage = net.apply(variables, image / np.float32(255), train=False)[1]["stage3"]
  np.testing.assert_allclose(run.embed(image, "stage3", pooled=False), stage, atol=1e-4)
  digits = ["--config.data.name=digits", "--config.data.train_examples=50"]
  assert main(["codes", f"--workdir={encoder}", "--values=1", *digits]) == 0
  assert json.loads(capsys.readouterr().out.splitlines()[-1])["results"][0]["layer"] == "stage3"
  Image.fromarray(image[0]).save(tmp_path / "x.png")
  look = ["look", f"--workdir={encoder}", f"--out={tmp_path}/look", "--what=filters,activations"]
  assert main([*look, f"{tmp_path}/x.png"]) == 0


def test_an_encoder_starts_classifiers_and_segmentation_networks(encoder):
  given = runs.load(encoder).variables
  options = {"blocks": 1, "filters": (4, 8, 16), "shortcut_padding": "both", "num_classes": 3}
  for name, part in (
    ("resnet20", ()),
    ("fcn32s_resnet20", ("encoder",)),
    ("probe_resnet20", ("encoder",)),
  ):
    net = create_model(name, **options)
    fresh = dict(net.init(jax.random.key(7), np.zeros((1, 32, 32, 3)), train=False))
    params = fresh.pop("params")
    state = State(np.int32(0), params, fresh, {}, {}, {}, {})
    started = start_from(str(encoder), state)
    found = {"params": started.params, **started.model_state}
    for tree in found.values():
      tree.update(tree.pop(part[0]) if part else {})
    for collection, tree in given.items():
      own = {module: found[collection][module] for module in tree}
      jax.tree.map(np.testing.assert_array_equal, own, tree)


def test_an_encoder_is_told_from_a_classifier(encoder, tmp_path, capsys):
  Image.new("RGB", (32, 32)).save(tmp_path / "x.png")
  assert main(["predict", f"--workdir={encoder}", f"{tmp_path}/x.png"]) == 2
  assert "encoder without classifier" in capsys.readouterr().err
  assert main(["eval", f"--workdir={encoder}", "--config.data.name=digits"]) == 2
  assert "encoder without classifier, which cannot be evaluated" in capsys.readouterr().err
  command = ["convert", "--model=fcn_resnet50", "--num_classes=0", "--weights=x.npz"]
  (tmp_path / "x.npz").write_bytes(b"")
  assert main([*command, f"--out={tmp_path}/run"]) == 2


def test_statistics_travel_with_the_weights(cifar, tmp_path):
  net, variables, path = cifar
  names = tmp_path / "classes.txt"
  names.write_text("\n".join("abcdefghij"))
  command = ["convert", "--model=resnet20", f"--weights={path}", "--mean=0.5,0.4,0.3", *SMALL]
  command += ["--std=0.2", "--config.model.shortcut_padding=both", f"--class_names={names}"]
  rng = np.random.default_rng(0)
  image = rng.integers(0, 256, (1, 32, 32, 3), dtype=np.uint8)
  for order in ("rgb", "bgr"):
    out = tmp_path / order
    assert main([*command, f"--channels={order}", f"--out={out}"]) == 0
    found = runs.load(out).predict(image)
    seen = image if order == "rgb" else image[..., ::-1]
    x = (seen / 255 - np.array([0.5, 0.4, 0.3])) / 0.2
    logits = net.apply(variables, x.astype(np.float32), train=False)[0]
    np.testing.assert_allclose(found.probabilities, jax.nn.softmax(logits), atol=1e-5)
  assert list(found.class_names) == list("abcdefghij")


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ((), "one is needed, since torchvision has no weights of 'resnet20'"),
    (("--mean=1,2",), r"--mean is '1,2'; allowed: one number, or 3"),
    (("--mean=a",), "--mean is 'a'; allowed"),
    (("--std=0",), "--std is 0; allowed: numbers over 0"),
    (("--scale=256",), "--scale is 256; allowed"),
    (("--scale=1", "--channels=brg"), "unknown value 'brg' of --channels; did you mean 'rgb'"),
    (("--scale=1", "--layout=nhwc"), "unknown layout 'nhwc'"),
    (("--scale=1", "--config.epochs=3"), "'epochs' has no effect on a conversion"),
    (("--scale=1", "--config.model.num_classes=3"), "'model.num_classes' has no effect"),
    (("--scale=1", "--names=gone.txt"), "'gone.txt' cannot be read"),
    (("--scale=1", "--class_names=gone.txt"), "gone.txt cannot be read"),
    (("--scale=1", "--config.model.norm=group"), r"left over: bn1\.running_mean"),
  ],
)
def test_what_makes_no_sense_is_refused(cifar, arguments, message, tmp_path, capsys):
  command = ["convert", "--model=resnet20", f"--weights={cifar[2]}", *SMALL, *arguments]
  assert main([*command, f"--out={tmp_path}/run"]) == 2
  assert re.search(message, capsys.readouterr().err)
  assert not (tmp_path / "run").exists()


def test_classes_that_have_no_names_fit_a_data_set_with_as_many():
  loaded = types.SimpleNamespace(class_names=("cat", "dog"))
  _require_same_classes(loaded, {"derived": {"class_names": ["class 0", "class 1"]}}, "pets")
  for names in (["class 0"], ["dog", "cat"]):
    with pytest.raises(DataError, match=r"pets has the classes.*cat"):
      _require_same_classes(loaded, {"derived": {"class_names": names}}, "pets")
