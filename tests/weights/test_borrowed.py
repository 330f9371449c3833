"""Weights that others have trained give the test errors that they published."""

import json

import pytest

from cnnlab.cli.main import main

# akamaster/pytorch_resnet_cifar10; right among CIFAR-10's 10,000 test images.
RIGHT = {"resnet20": 9173, "resnet32": 9263}
STATISTICS = ("--mean=0.485,0.456,0.406", "--std=0.229,0.224,0.225")


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_cifar_nets_get_their_published_errors(name, shared, tmp_path, capsys):
  weights = shared / "data" / "weights" / "cifar10_resnet" / f"{name}.safetensors"
  out = f"{tmp_path}/{name}"
  convert = ["convert", f"--model={name}", f"--weights={weights}", f"--out={out}", *STATISTICS]
  assert main([*convert, "--config.model.shortcut_padding=both"]) == 0
  sets = shared / "data" / "tfds"
  evaluate = ["eval", f"--workdir={out}", "--config.data.name=tfds:cifar10"]
  assert main([*evaluate, f"--config.data.dir={sets}"]) == 0
  metrics = json.loads(capsys.readouterr().out.splitlines()[-1])
  assert metrics["eval/count"] == 10_000
  assert round(10_000 * metrics["eval/top1"]) == RIGHT[name]
