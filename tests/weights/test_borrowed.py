"""Weights that others have trained give the test errors that they published."""

import json
import os

import numpy as np
import pytest

from cnnlab import runs
from cnnlab.cli.main import main

# akamaster/pytorch_resnet_cifar10; right among CIFAR-10's 10,000 test images.
RIGHT = {"resnet20": 9173, "resnet32": 9263}
# The classes of the ImageNet validation images at hand, by their folders.
LABELS = {
  "n01440764": 0, "n02102040": 217, "n02979186": 482, "n03000684": 491, "n03028079": 497,
  "n03394916": 566, "n03417042": 569, "n03425413": 571, "n03445777": 574, "n03888257": 701,
}  # fmt: skip
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


@pytest.mark.slow
def test_the_keras_resnet50_is_right_on_imagenet_as_often_as_measured(shared, tmp_path):
  weights = os.environ.get("CNNLAB_RESNET50", "")
  if not os.path.isfile(weights):
    pytest.skip(
      "needs $CNNLAB_RESNET50, the resnet50_imagenet.safetensors that the shared data's "
      "weights/fetch_resnet50_imagenet.py writes"
    )
  command = ["convert", "--model=resnet50", f"--weights={weights}", f"--out={tmp_path}/run"]
  command += ["--channels=bgr", "--scale=255", "--mean=103.939,116.779,123.68", "--resize=224"]
  assert main([*command, "--config.model.bottleneck_stride=1x1"]) == 0
  folder = shared / "data" / "images" / "imagenette_val500_224"
  files = {name: sorted((folder / name).iterdir())[:5] for name in LABELS}
  labels = np.repeat(list(LABELS.values()), 5)
  found = runs.load(tmp_path / "run").predict([str(f) for one in files.values() for f in one])
  best = np.argsort(-found.probabilities, axis=1)[:, :5]
  right = (best == labels[:, None]).cumsum(axis=1).sum(axis=0)
  assert (right[0], right[4]) == (40, 48)  # of 50; of all 500 images 365 and 457
