"""A class for each pixel of scenes composed from scikit-learn's digits: nothing is downloaded.

Command: python -m cnnlab train --config=configs/scenes.py --workdir=runs/scenes
Forms: any segmentation net by name (default: a narrow `unet`), and `tiny` (two steps, for tests).
Data: 2,000 training and 500 test scenes of 48x48 pixels, digits 0 to 9 on clutter; see
`cnnlab/data/scenes.py` for the settings in `data.name`.
Source of the recipe: our own.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

UNET = {"name": "unet", "features": (16, 32, 64, 128), "norm": "batch", "dropout": 0.0}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is the name of a model, '' or 'tiny'."""
  config = default_config()
  config.batch_size = 32
  config.eval_batch_size = 100
  config.epochs = 20.0
  # Nine pixels of ten are background; without weights it takes far longer to tell digits apart.
  config.task = ConfigDict({"name": "segmentation", "class_weights": "inverse"})
  config.model = ConfigDict({"name": arg} if arg not in ("", "tiny") else UNET)
  config.data.name = "scenes"
  config.optim.learning_rate = 0.1
  config.optim.weight_decay = 0.0005
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.model.features = (4, 4)
    config.data.name = "scenes:train=16,eval=10,height=24,width=24"
    config.batch_size = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
