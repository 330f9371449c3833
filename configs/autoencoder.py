"""Autoencoders of MNIST or CIFAR-10: codes learned without labels.

Command: python -m cnnlab train --config=configs/autoencoder.py:mnist --config.data.dir=DATA_DIR \
  --workdir=runs/autoencoder
Forms: `mnist` (default), `cifar10`, `dense` (the fully connected net of Science 313, 2006, on MNIST), and
`tiny` (two steps on scikit-learn's digits, for tests).
`--config.task.noise="gaussian(deviation=0.5)"` makes it a denoising autoencoder.
`runs.load("runs/autoencoder").embed(images, "code")` gives the codes.
Source of the recipe: our own; docs/embeddings.md has measured figures.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

FORMS = ("mnist", "cifar10", "dense", "tiny")


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is one of `FORMS`, or empty for mnist."""
  if arg not in ("", *FORMS):
    raise KeyError(f"unknown form {arg!r} of this page; allowed: {', '.join(FORMS)}")
  config = default_config()
  config.epochs = 10.0
  config.log_every_steps = 100
  config.task = ConfigDict({"name": "autoencoding", "loss": "squared", "noise": ""})
  config.model = ConfigDict(
    {"name": "autoencoder_convnet", "features": (32, 64), "code": 32, "norm": "batch"}
  )
  config.data.name = "tfds:cifar10" if arg == "cifar10" else "tfds:mnist"
  config.optim.name = "adam"
  config.optim.learning_rate = 0.001
  config.optim.weight_decay = 0.0
  config.schedule.warmup_epochs = 0.5
  if arg == "dense":
    config.model = ConfigDict({"name": "autoencoder_dense"})
    config.task.loss = "cross_entropy"
    config.data.centering = "none"
  elif arg == "cifar10":
    config.model.features = (32, 64, 128)
    config.model.code = 128
    config.data.flip = True
  elif arg == "tiny":
    config.model.features = (4, 4)
    config.model.code = 2
    config.data.name = "digits"
    config.batch_size = 16
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
