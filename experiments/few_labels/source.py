"""The autoencoders that `few_labels` starts from: all training images of a set, without their labels.

Command: cnnlab train --config=experiments/few_labels/source.py:mnist --config.data.dir=DATA_DIR \
  --workdir=runs/few_labels_mnist
Forms: `mnist`, `cifar10` (to runs/few_labels_cifar10), and `tiny` (two steps on digits, for tests).
The encoder is `convnet` with two blocks of two convolutions; a fully connected code of 64 numbers and
masking noise keep it from copying the image.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

NET = {"features": (32, 64), "convs_per_block": 2, "norm": "batch"}
TINY_NET = {"features": (4, 4), "convs_per_block": 1, "norm": "batch"}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is 'mnist' (default), 'cifar10' or 'tiny'."""
  config = default_config()
  config.epochs = 5.0
  config.log_every_steps = 100
  net = TINY_NET if arg == "tiny" else NET
  config.model = ConfigDict({"name": "autoencoder_convnet", "code": 64, **net})
  config.task = ConfigDict({"name": "autoencoding", "noise": "masking(fraction=0.25)"})
  config.data.name = "tfds:cifar10" if arg == "cifar10" else "tfds:mnist"
  # Nothing of the images that a classifier sees later, which may be ten.
  config.data.centering = "symmetric"
  config.optim.name = "adam"
  config.optim.learning_rate = 0.002
  config.optim.weight_decay = 0.0
  config.schedule.warmup_epochs = 0.5
  if arg == "cifar10":
    config.data.flip = True
  elif arg == "tiny":
    config.data.name = "digits"
    config.batch_size = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
