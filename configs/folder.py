"""Your own images: a folder with `train/<class>/*.png|jpg` and `val/<class>/*`, or class folders alone.

Command: python -m cnnlab train --config=configs/folder.py:PATH --workdir=runs/mine
Form: the folder's path. Images are brought to `data.resize` pixels (short side, then the centre)
and cropped at random to `data.image_size`; any CIFAR net suits such sizes. A folder without
`train/` and `val/` is divided by `data.eval_fraction`, class by class.
Hardware and time: 723 images at 64 pixels, 12 epochs, two CPU cores: about two minutes.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page for the folder `arg`."""
  config = default_config()
  config.batch_size = 32
  config.eval_batch_size = 60
  config.epochs = 12.0
  config.log_every_steps = 22
  config.model = ConfigDict({"name": "resnet20"})
  config.data.name = f"folder:{arg}"
  config.data.resize = 72
  config.data.image_size = 64
  config.data.flip = True
  config.optim.learning_rate = 0.05
  config.optim.weight_decay = 0.0005
  config.schedule.warmup_epochs = 1.0
  return config
