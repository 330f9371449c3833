"""The embedded default: a small convolutional net on scikit-learn's 1,797 handwritten digits.

Command: python -m cnnlab train --config=configs/digits.py --workdir=runs/digits
Forms: `configs/digits.py` (the quickstart's recipe) and `configs/digits.py:tiny` (two steps, for tests).
Hardware and time: two CPU cores, seconds. Images are 8x8x1.
Source of the recipe: our own; the question it serves is arXiv:1412.6806's.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is '' or 'tiny'."""
  if arg not in ("", "tiny"):
    raise KeyError(f"unknown form {arg!r} of this page; allowed: '' and 'tiny'")
  config = default_config()
  config.batch_size = 64
  config.eval_batch_size = 360
  config.epochs = 20.0
  config.log_every_steps = 11
  config.eval_every_epochs = 1.0
  config.checkpoint_every_epochs = 10.0
  config.model = ConfigDict({"name": "convnet", "features": (16, 32), "convs_per_block": 2})
  config.data.name = "digits"
  config.data.crop_padding = 1
  config.optim.learning_rate = 0.05
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
    config.model = ConfigDict({"name": "convnet", "features": (4, 4), "convs_per_block": 1})
  return config
