"""What a user can do who has the built wheel alone, from an empty folder."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

pytestmark = pytest.mark.slow

MY_NET = """
import numpy as np
from flax import linen as nn

from cnnlab.data import from_arrays, register_source
from cnnlab.models import register_model
from cnnlab.nn import make_layers, register_norm

rng = np.random.default_rng(0)
labels = np.arange(60) % 2
# Bright above or bright below, of a size that no data set of cnnlab has.
images = rng.integers(0, 100, (60, 12, 10, 3))
images[labels == 0, :6] += 150
images[labels == 1, 6:] += 150
images = images.astype(np.uint8)
names = [("above", "below")[label] for label in labels]


class Small(nn.Module):
  num_classes: int = 10
  norm: str = "batch"
  act: str = "relu"
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, *, train):
    layers = make_layers(self.norm, self.act, train=train, dtype=self.dtype)
    x = layers.act(layers.norm(name="norm1")(layers.conv(4, 3, stride=2, padding=1, name="conv1")(x)))
    feats = {"stage1": x, "pre_logits": x.reshape(x.shape[0], -1)}
    return layers.dense(self.num_classes, name="head")(feats["pre_logits"]), feats


register_norm("rms", nn.RMSNorm, shift=False)
register_model("small", Small)
register_source("bright", lambda rest, settings: from_arrays(images, names, name="bright"))
"""

PAGE = """
from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg=""):
  config = default_config()
  config.imports = ("my_net",)
  config.data.name = "bright"
  config.model = ConfigDict({"name": "small", "norm": "rms"})
  config.batch_size, config.eval_batch_size, config.epochs = 12, 12, 10.0
  config.optim.learning_rate = 0.05
  return config
"""

QUESTION = """
from cnnlab.lab import Claim, Experiment, Tuning


def get_experiment(recipe=""):
  return Experiment(
    name="question", question="Does my norm help?", config="page.py",
    overrides={"epochs": 2.0},
    variants={"rms": {"model.norm": "rms"}, "none": {"model.norm": "none"}}, base="none",
    seeds=(0, 1), tuning=Tuning({"optim.learning_rate": (0.0001, 0.05)}),
    claims=(Claim("my norm helps", "rms", "<", "none", source="mine"),),
  )
"""

SESSION = """
import json

import numpy as np

import cnnlab
import my_net
from cnnlab.lab import collect

run = cnnlab.runs.load("runs/mine")
predicted = run.predict(my_net.images)
np.save("probabilities.npy", predicted.probabilities)
run.export("mine.stablehlo", "stablehlo")
table = collect("runs/question")
print(json.dumps({
  "cnnlab": cnnlab.__file__,
  "right": float(np.mean([a == b for a, b in zip(predicted.classes, my_net.names)])),
  "logged": run.metrics["eval/error"].dropna().iloc[-1],
  "runs": table.groupby("variant")["value"].count().to_dict(),
  "rates": {
    name: cnnlab.runs.load(f"runs/question/{name}/seed0").config.optim.learning_rate
    for name in ("rms", "none")
  },
}))
"""


ELSEWHERE = """
import sys
sys.modules["cnnlab"] = None  # importing it is an error

import jax.export
import numpy as np

program = jax.export.deserialize(bytearray(open("mine.stablehlo", "rb").read()))
images = np.load("images.npy")
for count in (60, 7):
  found = program.call(images[:count])["probabilities"]
  np.testing.assert_allclose(found, np.load("probabilities.npy")[:count], rtol=1e-4, atol=1e-5)
"""


@pytest.fixture(scope="module")
def wheel(project, tmp_path_factory):
  """The built wheel; the checkout is copied, since builds leave files behind."""
  folder = tmp_path_factory.mktemp("wheel")
  source = folder / "source"
  ignored = shutil.ignore_patterns("__pycache__", "results")
  shutil.copytree(project / "cnnlab", source / "cnnlab", ignore=ignored)
  for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
    shutil.copy(project / name, source)
  pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")
  subprocess.run((*pip, "--wheel-dir", folder, source), check=True)
  (built,) = folder.glob("*.whl")
  return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
  """The `bin` of an environment with the wheel, and with this one's packages except cnnlab."""
  folder = tmp_path_factory.mktemp("environment")
  venv.create(folder, with_pip=False)
  own = sysconfig.get_path("purelib", vars={"base": folder, "platbase": folder})
  pip = (sys.executable, "-m", "pip", "--python", folder / "bin/python", "install", "--quiet")
  subprocess.run((*pip, "--no-deps", "--no-index", wheel), check=True)
  # A path in a .pth file is added; the editable cnnlab's own .pth file in it is not read.
  with open(os.path.join(own, "others.pth"), "w") as file:
    file.write(sysconfig.get_path("purelib") + "\n")
  return folder / "bin"


def test_one_name_and_no_results_are_installed(wheel):
  names = zipfile.ZipFile(wheel).namelist()
  assert {name.partition("/")[0] for name in names} == {"cnnlab", "cnnlab-0.1.0.dist-info"}
  assert "cnnlab/experiments/all_cnn/experiment.py" in names
  assert "cnnlab/lab/report/templates/report.html.j2" in names
  assert "cnnlab/native/convolution.cc" in names
  assert not [name for name in names if name.endswith((".html", ".csv", ".png", ".pyc"))]


def test_own_data_model_norm_and_experiment_and_an_export(installed, tmp_path):
  files = {"my_net": MY_NET, "page": PAGE, "question": QUESTION, "session": SESSION}
  for name, text in files.items():
    (tmp_path / f"{name}.py").write_text(text)

  def run(program, *arguments):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
      (installed / program, *arguments), cwd=tmp_path, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout

  run("cnnlab", "train", "--config=page.py", "--workdir=runs/mine")
  swept = run("cnnlab", "sweep", "question.py", "--root=runs")
  assert "my norm helps" in swept
  assert (tmp_path / "runs/question/report/report.html").is_file()
  told = json.loads(run("python", "session.py").splitlines()[-1])
  assert str(installed.parent) in told["cnnlab"]
  assert told["right"] > 0.95
  assert told["logged"] < 0.05
  assert told["runs"] == {"rms": 2, "none": 2}
  assert set(told["rates"].values()) <= {0.0001, 0.05}
  run("python", "-c", "import my_net, numpy; numpy.save('images.npy', my_net.images)")
  (tmp_path / "my_net.py").unlink()
  run("python", "-c", ELSEWHERE)
