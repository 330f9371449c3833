"""The network that `transfer` starts from: ResNet-20 on half of CIFAR-10's classes at 16x16 pixels.

Command: cnnlab train --config=experiments/transfer/source.py --config.data.dir=DATA_DIR \
  --workdir=runs/transfer_source
Forms: `cifar`, and `tiny` (two steps on half of the digits, for tests).
25,000 images of airplane, bird, deer, frog and ship, with the usual augmentation.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config
from cnnlab.experiments.transfer.halves import IMPORTS


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is 'cifar' (default) or 'tiny'."""
  config = default_config()
  config.imports = IMPORTS
  config.epochs = 12.0
  config.model = ConfigDict({"name": "resnet20"})
  config.data.name = "half:even:tfds:cifar10"
  config.data.image_size = 16
  config.data.crop_padding = 2
  config.data.flip = True
  config.optim.learning_rate = 0.1
  config.optim.weight_decay = 0.0005
  config.schedule.warmup_epochs = 1.0
  config.eval_every_epochs = 3.0
  config.checkpoint_every_epochs = 3.0
  if arg == "tiny":
    config.model = ConfigDict({"name": "resnet20", "blocks": 1, "filters": (4, 4, 8)})
    config.data.name = "half:even:digits"
    config.data.channels = 3
    config.batch_size = 8
    config.max_steps = 2
    config.schedule.warmup_epochs = 0.0
    config.log_every_steps = 1
  return config
