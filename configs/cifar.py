"""CIFAR-10 with the residual networks of arXiv:1512.03385, section 4.2.

Command: python -m cnnlab train --config=configs/cifar.py:resnet20 \
  --config.data.dir=DATA_DIR --workdir=runs/resnet20
Forms: any CIFAR net by name (`resnet20`, `plain56`, ...), and `tiny` (two steps, for tests).
Recipe as published: batch 128, SGD with momentum 0.9, weight decay 1e-4, rate 0.1 divided by 10
at half and three quarters of the training, pad-4 crops and flips, mean image subtracted.
Published error of resnet20: 8.75 % after 64,000 steps. For a short run override `epochs`.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg: str = "resnet20") -> ConfigDict:
  """Returns the page; `arg` is the name of a model or 'tiny'."""
  config = default_config()
  config.batch_size = 128
  config.epochs = 164.0  # 64,000 steps
  config.model = ConfigDict({"name": arg or "resnet20"})
  config.data.name = "tfds:cifar10"
  config.data.centering = "image"
  config.data.crop_padding = 4
  config.data.flip = True
  config.optim.learning_rate = 0.1
  config.schedule.name = "step"
  config.schedule.boundaries = (0.5, 0.75)
  if arg == "tiny":
    config.model = ConfigDict({"name": "resnet20", "width": 0.25})
    config.data.train_examples = 200
    config.data.eval_examples = 100
    config.batch_size = 20
    config.eval_batch_size = 50
    config.max_steps = 2
    config.log_every_steps = 1
  return config
