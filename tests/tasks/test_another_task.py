"""A task of another kind lives in this one file: nothing in `cnnlab` knows of it.

It regresses by what angle an image was rotated, from (cos, sin) that the network returns, and
predicts the image rotated back: a picture. It is trained, resumed, evaluated, predicted and reported
like any other.
"""

import dataclasses
import json
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from PIL import Image

from cnnlab import runs
from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.data import ArraySource, Feature, register_source
from cnnlab.errors import ConfigError, DataError
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.directory import open_sweep
from cnnlab.lab.plan import plan
from cnnlab.lab.report.write import write_report
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.runs import checkpoint
from cnnlab.tasks import Loss, Task, register_task
from cnnlab.tasks.base import num_examples
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

QUADRANTS = ("right", "up", "left", "down", "nowhere")


@dataclasses.dataclass(frozen=True)
class RotationSettings:
  """Keys of the task section."""

  penalty: float = 0.0
  noise: float = 0.1


class RotationNet(nn.Module):
  """An encoder with two outputs, and noise from a random stream of its own in training."""

  encoder: nn.Module
  noise: float

  @nn.compact
  def __call__(self, x, *, train):
    """Returns (cos, sin) [batch, 2]."""
    if train and self.noise:
      x = x + self.noise * jax.random.normal(self.make_rng("noise"), x.shape)
    return self.encoder(x, train=train)


class MedianError:
  """The median needs all examples at once."""

  def __init__(self):
    self.errors = []

  def add(self, rows):
    """Keeps the rows."""
    self.errors.append(rows["degrees"])

  def result(self):
    """Returns the median."""
    return {"median": float(np.median(np.concatenate(self.errors)))}


@dataclasses.dataclass(frozen=True)
class Rotation(Task):
  """See the module's docstring."""

  settings: RotationSettings

  Settings: ClassVar = RotationSettings
  needs: ClassVar = {"image": "image", "angle": "vector"}
  metrics: ClassVar = (
    Metric("degrees", "mean absolute error", "°"),
    Metric("median", "median absolute error", "°"),
    Metric("cosine", "mean cosine", better="max"),
    Metric("by_quadrant", "mean absolute error by quadrant", "°", per_class=True),
  )
  main_metric: ClassVar = "degrees"
  streams: ClassVar = ("dropout", "noise")

  @classmethod
  def create(cls, settings, features):
    """Returns the task."""
    if settings.noise < 0:
      raise ConfigError(f"config key 'task.noise' is {settings.noise}; allowed: 0 and more")
    return cls(settings)

  def network(self, options, dtype):
    """Returns the encoder with two outputs."""
    options = dict(options)
    encoder = create_model(options.pop("name"), num_classes=2, dtype=dtype, **options)
    return RotationNet(encoder, self.settings.noise)

  def loss(self, out, feats, batch, params):
    """Returns squared errors and a penalty on the last layer's weights."""
    angle = batch["angle"][:, 0]
    target = jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
    penalty = self.settings.penalty * jnp.sum(params["encoder"]["head"]["kernel"] ** 2)
    count = num_examples(batch)
    return Loss(jnp.sum((out - target) ** 2) + count * penalty, count)

  @staticmethod
  def _degrees(out, batch):
    angle = jnp.arctan2(out[:, 1], out[:, 0])
    difference = (angle - batch["angle"][:, 0] + jnp.pi) % (2 * jnp.pi) - jnp.pi
    return jnp.abs(jnp.degrees(difference))

  def metric_sums(self, out, batch, mask):
    """Returns sums of the absolute error, its cosine, and both by quadrant."""
    degrees = self._degrees(out, batch)
    quadrant = jnp.round(batch["angle"][:, 0] / (jnp.pi / 2)).astype(int) % 4
    member = jax.nn.one_hot(quadrant, len(QUADRANTS)) * mask[:, None]
    return {
      "degrees": jnp.sum(degrees * mask),
      "cosine": jnp.sum(jnp.cos(jnp.radians(degrees)) * mask),
      "quadrant_degrees": degrees @ member,
      "quadrant_count": member.sum(0),
      "count": jnp.sum(mask),
    }

  def summarize(self, sums):
    """Returns means; those of a quadrant without examples are not defined."""
    count = float(sums["count"])
    with np.errstate(invalid="ignore"):
      means = np.asarray(sums["quadrant_degrees"]) / np.asarray(sums["quadrant_count"])
    return {
      "degrees": float(sums["degrees"]) / count,
      "cosine": float(sums["cosine"]) / count,
      "by_quadrant": dict(zip(QUADRANTS, means.tolist(), strict=True)),
      "count": round(count),
    }

  def collect(self, out, batch):
    """Returns the absolute errors."""
    return {"degrees": self._degrees(out, batch)}

  def accumulator(self):
    """Returns the median's."""
    return MedianError()

  def predict(self, out):
    """Returns the angle in degrees."""
    return {"degrees": jnp.degrees(jnp.arctan2(out[:, 1], out[:, 0]))}

  def to_json(self, prediction):
    """Returns the angle."""
    return {"degrees": float(prediction["degrees"])}

  def describe(self, prediction, top):
    """Returns the angle in words."""
    return [f"{float(prediction['degrees']):.0f} degrees"]

  def draw(self, image, prediction):
    """Returns the image rotated back."""
    picture = Image.fromarray(image[..., 0]).rotate(-float(prediction["degrees"]))
    return np.asarray(picture)[..., None].repeat(3, -1)


def rotated_digits(rest, settings):
  """Opens digits rotated by quarters of a turn."""
  from sklearn.datasets import load_digits

  rng = np.random.default_rng(0)
  quarters = rng.integers(0, 4, 400)
  images = np.round(load_digits().images[:400] * (255 / 16)).astype(np.uint8)
  images = np.stack([np.rot90(i, q) for i, q in zip(images, quarters, strict=True)])[..., None]
  angles = (quarters * np.pi / 2).astype(np.float32)[:, None]
  features = {
    "image": Feature("image", (8, 8, 1), "uint8"),
    "angle": Feature("vector", (1,), "float32"),
  }
  whole = {"image": images, "angle": angles}
  parts = ({name: a[:300] for name, a in whole.items()}, {n: a[300:] for n, a in whole.items()})
  return tuple(ArraySource("rotated", features, part) for part in parts)


register_task("rotation", Rotation)
register_source("rotated", rotated_digits)
OVERRIDES = {
  "data.name": "rotated",
  "data.crop_padding": 0,
  "task.name": "rotation",
  "batch_size": 50,
  "eval_batch_size": 40,
  "max_steps": 30,
  "log_every_steps": 6,
  "checkpoint_every_steps": 12,
  "model.features": (8, 8),
  "model.dropout": 0.1,
}


def config(**more):
  """Returns the tiny page for this task; dots in keys are two underscores."""
  own = {key.replace("__", "."): value for key, value in more.items()}
  return apply_overrides(load_page("configs/digits.py:tiny"), OVERRIDES | own)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("rotation") / "run"
  row = train(config(), workdir, asked=OVERRIDES)
  return workdir, row


def test_it_trains_and_keeps_its_metrics(trained):
  workdir, row = trained
  metrics = runs.load(workdir).metrics
  assert metrics["train/loss"].iloc[-1] < metrics["train/loss"].iloc[0]
  assert row["eval/count"] == 100
  assert row["eval/by_quadrant/nowhere"] is None
  quadrants = [row[f"eval/by_quadrant/{name}"] for name in QUADRANTS[:4]]
  assert min(quadrants) <= row["eval/degrees"] <= max(quadrants)
  assert 0 <= row["eval/median"] <= 180
  assert json.loads((workdir / "config.json").read_text())["derived"]["main_metric"] == [
    "eval/degrees",
    "min",
  ]


def test_it_resumes_bit_for_bit(trained, tmp_path):
  whole, row = trained
  broken = tmp_path / "run"
  stop_at = 17

  class Stop(Exception):
    pass

  def progress(step, total):
    if step == stop_at:
      raise Stop

  with pytest.raises(Stop):
    train(config(), broken, progress=progress)
  assert train(config(), broken) == row
  for a, b in zip(
    *(jax.tree.leaves(checkpoint.restore(d)["state"]) for d in (whole, broken)), strict=True
  ):
    np.testing.assert_array_equal(a, b)


def test_it_is_evaluated_again_from_its_directory(trained):
  workdir, row = trained
  again = evaluate_run(workdir)
  assert again["eval/degrees"] == pytest.approx(row["eval/degrees"], rel=1e-5)
  assert again["eval/median"] == pytest.approx(row["eval/median"], rel=1e-5)


def test_it_predicts_and_draws(trained, tmp_path, capsys):
  workdir, _ = trained
  file = tmp_path / "digit.png"
  Image.fromarray(np.arange(20 * 16, dtype=np.uint8).reshape(20, 16)).save(file)
  arguments = ["predict", f"--workdir={workdir}", f"--draw={tmp_path / 'drawn'}", str(file)]
  assert main(arguments) == 0
  assert "degrees" in capsys.readouterr().out
  with Image.open(tmp_path / "drawn" / "digit.png") as picture:
    assert picture.size == (16, 20), "in the original image's size"
  assert main(["predict", f"--workdir={workdir}", "--json", str(file)]) == 0
  assert -180 <= json.loads(capsys.readouterr().out)["degrees"] <= 180


def test_a_report_has_its_names_its_verdict_and_its_pictures(tmp_path):
  claim = Claim("noise harms", "quiet", "<", "noisy", "this test", metric="eval/cosine")
  experiment = Experiment(
    name="rotation",
    question="Does noise harm?",
    config="configs/digits.py:tiny",
    overrides=OVERRIDES | {"max_steps": 3},
    variants={"quiet": {"task.noise": 0.0}, "noisy": {"task.noise": 1.0}},
    base="quiet",
    seeds=(0,),
    metric="eval/degrees",
    claims=(claim,),
  )
  directory = open_sweep(experiment, tmp_path)
  for spec in plan(experiment, tmp_path):
    train(apply_overrides(load_page(spec.config), spec.overrides), spec.directory)
  report = write_report(directory)
  text = report.markdown.read_text()
  assert "mean absolute error (°)" in text
  assert "eval_0" in text
  assert "data:image/png;base64," in report.html.read_text()


@pytest.mark.parametrize(
  ("overrides", "error", "message"),
  [
    ({"task.noise": -1.0}, ConfigError, "'task.noise' is -1"),
    ({"task.nois": 1.0}, ConfigError, r"'task\.nois'"),
    ({"data.name": "digits"}, DataError, "needs a feature 'angle' of kind 'vector'"),
    (
      {"data.eval_crops": "ten", "data.resize": 12, "data.image_size": 8},
      ConfigError,
      "classifiers",
    ),
    ({"task.name": "rotatoin"}, ConfigError, "did you mean 'rotation'"),
  ],
)
def test_bad_settings_are_named(tmp_path, overrides, error, message):
  with pytest.raises(error, match=message):
    train(
      apply_overrides(load_page("configs/digits.py:tiny"), OVERRIDES | overrides),
      tmp_path / "run",
      asked=OVERRIDES | overrides,
    )
