"""`cnnlab describe` as a user types it, and the picture it draws."""

import csv
import io
import json
import resource

import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.inspect import describe
from cnnlab.inspect.picture import bars
from cnnlab.models import create_model


def test_table_of_a_name(capsys):
  assert main(["describe", "resnet20", "--batch_size", "8", "--optimizer", "adam"]) == 0
  shown = capsys.readouterr().out
  assert "resnet20 on 32x32x3, adam, batch of 8" in shown
  assert "269,722" in shown
  assert "40,551,040" in shown
  assert "stage3_block3/conv2" in shown
  assert "optimizer 2.16 MB" in shown
  # Of convolutions and norms, 16,384 floats in stage 1, half and a quarter of them later.
  outputs = (2 * 7 + 6 * 2 / 2 + 6 * 2 / 4) * 16384 * 4 * 8 + (64 + 10) * 4 * 8
  assert f"outputs of all layers: {outputs / 1e6:.3g} MB" in shown


def test_json_and_csv_agree(capsys):
  arguments = ["describe", "convnet", "--image_size=16", "--channels=1", "--option", "hidden=(7,)"]
  assert main([*arguments, "--json"]) == 0
  found = json.loads(capsys.readouterr().out)
  assert found["image_shape"] == [16, 16, 1]
  assert main([*arguments, "--csv"]) == 0
  lines = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
  assert [line["layer"] for line in lines] == [layer["name"] for layer in found["layers"]]
  assert sum(int(line["parameters"]) for line in lines) == found["total"]["parameters"]
  assert lines[-2]["output"] == "7"


def test_config_page(capsys):
  page = "--config=configs/digits.py"
  assert main(["describe", page, "--config.batch_size=32", "--json"]) == 0
  found = json.loads(capsys.readouterr().out)
  assert found["image_shape"] == [8, 8, 1]
  assert found["batch_size"] == 32
  assert found["layers"][-1]["output"] == [10]


def test_config_page_without_its_data_set(capsys):
  page = "--config=configs/cifar.py:resnet20"
  assert main(["describe", page, "--config.data.dir=nowhere", "--json"]) == 0
  printed = capsys.readouterr()
  found = json.loads(printed.out)
  assert found["image_shape"] == [32, 32, 3]
  assert found["total"]["parameters"] == 269_722
  assert "images of 32x32x3 are assumed" in printed.err
  assert "nowhere" in printed.err


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ([], "either the name of a model or --config"),
    (["resnet21"], "resnet20"),
    (["resnet20", "--option", "norm=bach"], "batch"),
    (["resnet20", "--option", "norm"], "KEY=VALUE"),
    (["resnet20", "--optimizer", "adan"], "adam"),
    (["resnet20", "--image_size", "2"], "total stride"),
    (["resnet20", "--config.batch_size=3"], "needs --config=PAGE"),
    (["resnet20", "--picture", "x.bmp"], "png"),
  ],
)
def test_mistakes_are_named(arguments, message, capsys):
  assert main(["describe", *arguments]) == 2
  assert message in capsys.readouterr().err


def test_picture(tmp_path, capsys):
  path = tmp_path / "new" / "sheet.png"
  assert main(["describe", "resnet20", "--picture", str(path)]) == 0
  with Image.open(path) as image:
    assert image.width > 1000
    assert len(set(image.convert("RGB").resize((100, 100)).getdata())) > 20
  for name in ("a.svg", "b.svg"):
    assert main(["describe", "convnet", "--picture", str(tmp_path / name)]) == 0
  assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
  ("name", "size", "names"),
  [
    ("vgg16", 224, ["conv1_1", "conv1_2", "conv2_1"]),
    ("resnet50", 224, ["conv1", "stage1_block1", "stage1_block2"]),
  ],
)
def test_bars_lose_nothing(name, size, names):
  sheet = describe(create_model(name), (size, size, 3), batch_size=2)
  found = bars(sheet)
  assert [bar.name for bar in found[:3]] == names
  assert sum(bar.multiply_adds for bar in found) == sheet.multiply_adds
  memory = sheet.memory()
  assert sum(bar.activations for bar in found) == memory["activations"]
  weights = memory["parameters"] + memory["gradients"] + memory["optimizer"]
  assert sum(bar.weights for bar in found) == weights


def test_a_deep_net_takes_little_time_and_computes_nothing():
  """Processor time, since the wall clock depends on what else runs."""
  before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
  assert describe(create_model("resnet152"), (224, 224, 3)).parameters == 60_192_808
  assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 3
