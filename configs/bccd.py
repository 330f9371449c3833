"""Blood cells in boxes: BCCD at a quarter of its size, or digits on clutter, which need no download.

Command: python -m cnnlab train --config=configs/bccd.py --config.data.dir=DATA_DIR \
  --workdir=runs/bccd
Forms: `retinanet` (default) and `fasterrcnn` on BCCD; `digits` and `digits_fasterrcnn` on scenes of
64x64 pixels; any other detector by name, on BCCD; and `tiny` (two steps on digits, for tests).
Data: 205 training and 72 test images (`data.eval_split=val`: 87) of 480x640 pixels, here 120x160, with
boxes of red cells, white cells and platelets.
Source of the recipe: our own.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

# A ResNet-18 of half the width, whose maps have strides of 4 to 32 pixels; the smallest objects have
# ten pixels, and so the anchors are half as large as published.
ENCODER = {"width": 0.5, "features": 64, "anchor_scale": 0.5}
ONE_STAGE = {"name": "retinanet_resnet18", **ENCODER, "levels": 4, "depth": 2}
TWO_STAGES = {
  "name": "fasterrcnn_resnet18",
  **ENCODER,
  "hidden": 256,
  "train_proposals": 300,
  "proposals": 100,
}
NETS = {"": ONE_STAGE, "retinanet": ONE_STAGE, "fasterrcnn": TWO_STAGES}


def get_config(arg: str = "retinanet") -> ConfigDict:
  """Returns the page; `arg` is one of the forms above or the name of a detector."""
  digits = arg in ("digits", "digits_fasterrcnn", "tiny")
  net = NETS.get(arg, {"name": arg})
  if digits:
    net = TWO_STAGES if arg == "digits_fasterrcnn" else ONE_STAGE
  config = default_config()
  config.task = ConfigDict({"name": "detection", "candidates": 200, "size_limits": (16.0, 32.0)})
  config.model = ConfigDict(net)
  config.batch_size = 8
  config.eval_batch_size = 8
  config.optim.name = "adamw"
  config.optim.learning_rate = 0.001
  config.optim.weight_decay = 0.0001
  config.optim.clip_norm = 10.0
  config.data.flip = True
  if net is TWO_STAGES:
    config.task.rpn_sample = 128
    config.task.box_sample = 64
  if digits:
    config.data.name = "scenes:height=64,width=64,boxes=True"
    config.data.flip = False
    config.batch_size = 16
    config.eval_batch_size = 50
    config.epochs = 15.0
  else:
    config.data.name = "tfds:bccd"
    config.data.eval_split = "test"
    with config.data.ignore_type():
      config.data.image_size = (120, 160)
    config.data.transforms = ("color(brightness=0.2, contrast=0.2)", "scale(low=0.8, high=1.25)")
    config.epochs = 30.0
    config.eval_every_epochs = 5.0
    config.checkpoint_every_epochs = 5.0
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.data.name = "scenes:train=16,eval=10,height=32,width=32,boxes=True"
    config.model.features = 8
    config.model.width = 0.25
    config.model.blocks = (1, 1, 1, 1)
    config.batch_size = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
