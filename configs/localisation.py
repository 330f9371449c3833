"""The class and the box of one digit on clutter, by two heads on one trunk: nothing is downloaded.

Command: python -m cnnlab train --config=configs/localisation.py --workdir=runs/localisation
Forms: any classifier by name as the trunk (default: eight convolutions), and `tiny` (two steps, for
tests).
Data: 4,000 training and 1,000 test scenes of 48x48 pixels with one digit each; see
`cnnlab/data/scenes.py` for the settings in `data.name`. Of a set with several objects in an image,
such as `tfds:bccd`, the largest is the target.
Source of the recipe: our own.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

TRUNK = {
  "name": "convnet", "features": (16, 32, 64, 128), "convs_per_block": 2, "norm": "batch",
}  # fmt: skip


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is the name of a classifier, '' or 'tiny'."""
  config = default_config()
  config.batch_size = 64
  config.eval_batch_size = 100
  config.epochs = 30.0
  config.eval_every_epochs = 5.0
  config.checkpoint_every_epochs = 5.0
  config.task = ConfigDict({"name": "localisation", "box_weight": 1.0})
  config.model = ConfigDict({"name": arg} if arg not in ("", "tiny") else TRUNK)
  config.data.name = "scenes:train=4000,eval=1000,most=1,boxes=true"
  config.data.transforms = ("scale(low=0.8, high=1.2)", "crop(padding=6)")
  config.data.min_visibility = 0.7
  config.optim.learning_rate = 0.05
  config.optim.weight_decay = 0.0005
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.model.features = (4, 4)
    config.data.name = "scenes:train=16,eval=10,height=32,width=32,most=1,boxes=true"
    config.data.transforms = ()
    config.batch_size = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
