"""Autoencoding: an image from itself, or from a noisy form of it, through a code."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax.typing import Collection, VariableDict
from jax import Array

from cnnlab.annotations import Between, Positive
from cnnlab.errors import ConfigError
from cnnlab.metrics import Metric
from cnnlab.models import create_model
from cnnlab.models.autoencoder import CODE
from cnnlab.models.registry import require_output
from cnnlab.panels import PREDICTED
from cnnlab.settings import spelled
from cnnlab.tasks import code_maps
from cnnlab.tasks.analysis import Analysis
from cnnlab.tasks.base import (
  Batch,
  Features,
  FeatureSpec,
  HostSums,
  Loss,
  MetricValue,
  Output,
  Prediction,
  Preprocessing,
  Sums,
  Task,
  View,
  require_center,
)
from cnnlab.tasks.segmentation_pictures import as_rgb, enlarged
from cnnlab.types import Json, JsonMapping

MOST_NUMBERS = 256  # of a code that is kept of each evaluated example


@dataclasses.dataclass(frozen=True)
class Gaussian:
  """Adds normal noise.

  Attributes:
    deviation: in units of the network's input.
  """

  deviation: Positive = 0.5

  def __call__(self, image: Array, key: Array) -> Array:
    """Returns the noisy form of images [..., height, width, channels]."""
    return image + self.deviation * jax.random.normal(key, image.shape, image.dtype)


@dataclasses.dataclass(frozen=True)
class Masking:
  """Sets pixels to 0, which is the mean unless `data.centering` says otherwise.

  Vincent et al., "Extracting and Composing Robust Features with Denoising Autoencoders" (ICML 2008).

  Attributes:
    fraction: of the pixels.
  """

  fraction: Annotated[float, Between(0, 1, over=True, below=True)] = 0.25

  def __call__(self, image: Array, key: Array) -> Array:
    """Returns the noisy form of images [..., height, width, channels]."""
    kept = jax.random.bernoulli(key, 1 - self.fraction, image.shape[:-1])
    return image * kept[..., None]


Noise: TypeAlias = Gaussian | Masking
NOISES: dict[str, type[Noise]] = {"gaussian": Gaussian, "masking": Masking}


class Denoising(nn.Module):
  """A network that sees a noisy form of its input in training, with that network's parameters.

  Attributes:
    net: the network.
    noise: from the random stream 'noise'.
  """

  net: nn.Module
  noise: Noise

  def setup(self) -> None:
    """Gives the network's parameters the paths that they have without noise."""
    nn.share_scope(self, self.net)

  def __call__(self, x: Array, *, train: bool) -> tuple[Array, dict[str, Array]]:
    """Returns what the network does."""
    return self.net(self.noise(x, self.make_rng("noise")) if train else x, train=train)


@dataclasses.dataclass(frozen=True)
class AutoencodingSettings:
  """Keys of the config's `task` section.

  Attributes:
    loss: 'squared' error, in units of the network's input; or the 'cross_entropy' of pixels that
      are taken for probabilities, which needs `data.centering='none'`.
    noise: what is done to the image that the network sees, such as 'gaussian(deviation=0.5)' or
      'masking(fraction=0.3)'; empty: nothing. The loss is that of the image without noise.
  """

  loss: Literal["squared", "cross_entropy"] = "squared"
  noise: str = ""


@dataclasses.dataclass(frozen=True)
class Autoencoding(Task):
  """Reconstruction of images.

  Attributes:
    loss_name: see `AutoencodingSettings.loss`.
    noise: None for none.
    class_names: of the data set's label, for pictures; empty without one.
  """

  loss_name: str
  noise: Noise | None = None
  class_names: tuple[str, ...] = ()

  Settings: ClassVar = AutoencodingSettings
  metrics: ClassVar = (
    Metric("mse", "mean squared error"),
    Metric("denoising_mse", "mean squared error from noisy images"),
    Metric("cross_entropy", "cross-entropy per value", "nats"),
  )
  main_metric: ClassVar = "mse"
  streams: ClassVar = ("dropout", "noise")
  measures_training: ClassVar = False

  @classmethod
  def create(
    cls, settings: AutoencodingSettings, features: Mapping[str, FeatureSpec]
  ) -> Autoencoding:
    """Returns the task."""
    noise = spelled(NOISES, settings.noise, "task.noise") if settings.noise else None
    label = features.get("label")
    return cls(settings.loss, noise, tuple(label.names) if label else ())

  @property
  def best_by(self) -> tuple[str, str]:
    """The error from noisy images where there is noise."""
    return ("eval/denoising_mse" if self.noise else "eval/mse"), "min"

  def network(self, options: JsonMapping, dtype: str) -> nn.Module:
    """Returns the autoencoder, which adds noise in training if the task asks for it."""
    options = dict(options)
    name = options.pop("name")
    require_output(name, "reconstruction")
    net = create_model(name, dtype=dtype, **options)
    return Denoising(net, self.noise) if self.noise else net

  def check(self, out: Output, preprocess: Preprocessing) -> None:
    """Raises ConfigError unless pixels are in [0, 1] where the loss takes them for probabilities.

    So it does for crops in evaluation, which this task cannot merge.
    """
    require_center(preprocess)
    if self.loss_name != "cross_entropy":
      return
    black, white = _normalized_ends(preprocess, (*preprocess.stored_size, out.shape[-1]))
    if not (np.allclose(black, 0) and np.allclose(white, 1)):
      raise ConfigError(
        "config key 'task.loss' is 'cross_entropy', which takes pixels for probabilities; use it with "
        "data.centering='none', or 'squared'"
      )

  def loss(self, out: Array, feats: Features, batch: Batch, params: Collection) -> Loss:
    """Returns the loss summed over the values of all pixels, and their number."""
    return Loss(jnp.sum(self._losses(out, batch["image"])), out.size)

  def _losses(self, out: Array, image: Array) -> Array:
    if self.loss_name == "cross_entropy":
      return optax.sigmoid_binary_cross_entropy(out, image)
    return jnp.square(out - image)

  def evaluate(
    self, model: nn.Module, variables: VariableDict, preprocess: Preprocessing, batch: Batch
  ) -> tuple[Batch, Output]:
    """Returns the batch, and what the network makes of each image and of a noisy form of it.

    The noise of an image follows from its pixels, so that it is the same in every evaluation.
    """
    black, white = _normalized_ends(preprocess, batch["image"].shape[1:])
    keys = jax.vmap(_key_of)(batch["image"])
    batch = preprocess.eval(batch)
    image = batch["image"]

    def as_pixels(x: Array) -> Array:
      shades = jnp.round((x - black) / (white - black) * 255)
      return jnp.clip(shades, 0, 255).astype(jnp.uint8)

    def restored(x: Array) -> Array:
      return jax.nn.sigmoid(x) if self.loss_name == "cross_entropy" else x

    out, feats = model.apply(variables, image, train=False)
    code = feats[CODE].astype(jnp.float32)
    found = {
      "code": code.mean(tuple(range(1, code.ndim - 1))),
      "reconstruction": as_pixels(restored(out)),
      "mse": _mean(jnp.square(restored(out) - image)),
      "loss": _mean(self._losses(out, image)),
    }
    if self.noise:
      noisy = jax.vmap(self.noise)(image, keys)
      denoised = restored(model.apply(variables, noisy, train=False)[0])
      found |= {
        "noisy": as_pixels(noisy),
        "denoised": as_pixels(denoised),
        "denoising_mse": _mean(jnp.square(denoised - image)),
      }
    return batch, found

  def metric_sums(self, out: Output, batch: Batch, mask: Array) -> Sums:
    """Returns sums of the errors of images, and the count."""
    names = ["mse", "loss"] + (["denoising_mse"] if self.noise else [])
    sums = {name: jnp.sum(jnp.where(mask > 0, out[name], 0.0)) for name in names}
    return sums | {"count": jnp.sum(mask)}

  def summarize(self, sums: HostSums) -> dict[str, MetricValue]:
    """Returns errors per value of a pixel, and the count."""
    count = float(sums["count"])
    found = {
      name: float(value) / count for name, value in sums.items() if name not in ("loss", "count")
    }
    if self.loss_name == "cross_entropy":
      found["cross_entropy"] = float(sums["loss"]) / count
    return {**found, "count": round(count)}

  def example_metrics(self, out: Output, batch: Batch) -> dict[str, Array]:
    """Returns the errors, the label if there is one, and the code, averaged over its positions."""
    kept = {name: out[name] for name in ("mse", "denoising_mse") if name in out}
    if self.class_names:
      kept["label"] = batch["label"]
    return kept | ({"code": out["code"]} if out["code"].shape[1] <= MOST_NUMBERS else {})

  def analyze(self, examples: Mapping[str, np.ndarray]) -> Analysis:
    """Returns a map of the codes, and the images that are reconstructed worst."""
    return code_maps.analyze(examples, self.class_names)

  def predict(self, out: Output) -> dict[str, Array]:
    """Returns pictures, uint8 [batch, height, width, channels], the code and the squared error."""
    return {name: value for name, value in out.items() if name not in ("loss", "denoising_mse")}

  def restore(self, prediction: Prediction, view: View) -> Prediction:
    """Returns the prediction with pictures of the original image's size."""
    return {
      name: view.restore(value, "bilinear") if value.dtype == np.uint8 else value
      for name, value in prediction.items()
    }

  def to_json(self, prediction: Prediction) -> Json:
    """Returns the squared error, and the code, averaged over its positions."""
    return {"mse": float(prediction["mse"]), "code": prediction["code"].tolist()}

  def describe(self, prediction: Prediction, top: int) -> list[str]:
    """Returns the squared error."""
    return [f"mean squared error {float(prediction['mse']):.4f}"]

  def draw(self, image: np.ndarray, prediction: Prediction) -> np.ndarray:
    """Returns what the network makes of the image."""
    return as_rgb(prediction["reconstruction"])

  def panels(self, example: Prediction, prediction: Prediction) -> dict[str, np.ndarray]:
    """Returns the image, its noisy form if there is one, and what the network makes of that."""
    shown = {"image": example["image"]}
    if self.noise:
      shown |= {"noisy": prediction["noisy"], PREDICTED: prediction["denoised"]}
    else:
      shown[PREDICTED] = prediction["reconstruction"]
    return {title: enlarged(as_rgb(picture)) for title, picture in shown.items()}


def _mean(values: Array) -> Array:
  """Returns the mean of each image, [batch]."""
  return values.mean(axis=(1, 2, 3))


def _normalized_ends(preprocess: Preprocessing, shape: tuple[int, ...]) -> tuple[Array, Array]:
  """Returns black and white as the network takes them, [height, width, channels] each."""
  ends = jnp.stack([jnp.zeros(shape, jnp.uint8), jnp.full(shape, 255, jnp.uint8)])
  black, white = preprocess.eval({"image": ends})["image"]
  return black, white


def _key_of(image: Array) -> Array:
  """Returns a key that follows from the pixels of an image, uint8 [height, width, channels]."""
  places = jnp.arange(image.size, dtype=jnp.uint32)
  # Multiplication by odd numbers modulo 2^32, added up: a change of one pixel changes the sum.
  mixed = (places * jnp.uint32(2654435761) + jnp.uint32(2246822519)) | 1
  return jax.random.key(jnp.sum(image.reshape(-1).astype(jnp.uint32) * mixed))
