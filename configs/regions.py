"""R-CNN and Fast R-CNN on digits on clutter, with the proposals of selective search: no download.

Command: python -m cnnlab train --config=configs/regions.py --workdir=runs/regions
Forms: `fast` (default) takes proposals from the map of the image, `rcnn` crops them from the image; and
`tiny` (two steps, for tests). `--config=bccd:digits_fasterrcnn` makes its own proposals.
Data: 2,000 training and 500 test scenes of 64x64 pixels, and 100 proposals for each; making them
takes two minutes or three, once. `--config.data.name=tfds:bccd --config.data.image_size='(120, 160)'`
is for blood cells.
Source of the recipe: our own.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

# The map of a stride of 8 pixels, so that R-CNN's crops have 56.
NET = {"name": "resnet18", "width": 0.25, "features": 32, "hidden": 256, "one_map": 8}


def get_config(arg: str = "fast") -> ConfigDict:
  """Returns the page; `arg` is 'fast', 'rcnn' or 'tiny'."""
  config = default_config()
  config.batch_size = 16
  config.eval_batch_size = 10
  config.epochs = 15.0
  config.eval_every_epochs = 5.0
  config.task = ConfigDict(
    {"name": "region_detection", "candidates": 200, "size_limits": (16.0, 32.0), "box_sample": 32}
  )
  config.model = ConfigDict(NET)
  if arg == "rcnn":
    config.model.regions = "crop"
  config.data.name = "scenes:height=64,width=64,boxes=true"
  config.data.proposals = 100
  config.optim.name = "adamw"
  config.optim.learning_rate = 0.001
  config.optim.clip_norm = 10.0
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.data.name = "scenes:train=16,eval=10,height=32,width=32,boxes=true"
    config.data.proposals = 8
    config.model.features = 8
    config.model.blocks = (1, 1, 1, 1)
    config.batch_size = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
