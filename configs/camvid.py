"""CamVid: road scenes with a class for each pixel, 11 classes and void, at half size.

Command: python -m cnnlab train --config=configs/camvid.py --config.data.dir=DATA_DIR \
  --workdir=runs/camvid
Forms: `unet` (default), a U-Net of half the published width trained from scratch; `fcn8s`, FCN-8s on
VGG-16, best started from pretrained features by `--config.init_from=RUN`; any other segmentation net
by name; and `tiny` (two steps, for tests).
Data: 367 training and 233 test images of 180x240 pixels (`data.eval_split=val`: 101), enlarged or
reduced, cropped and mirrored at random. Pixels without a class, `void`, count for nothing.
Source of the recipe: our own; the split is SegNet's (arXiv:1511.00561).
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg: str = "unet") -> ConfigDict:
  """Returns the page; `arg` is 'unet', 'fcn8s', the name of a model, or 'tiny'."""
  config = default_config()
  config.batch_size = 8
  config.eval_batch_size = 8
  config.epochs = 80.0
  config.eval_every_epochs = 5.0
  config.checkpoint_every_epochs = 5.0
  config.task = ConfigDict({"name": "segmentation", "ignored": ("void",)})
  config.model = ConfigDict({"name": arg})
  config.data.name = "tfds:camvid"
  config.data.eval_split = "test"
  with config.data.ignore_type():  # a side, or both
    config.data.image_size = (24, 32) if arg == "tiny" else (180, 240)
  config.data.flip = True
  config.data.transforms = (
    "color(brightness=0.3, contrast=0.3, saturation=0.3)",
    "scale(low=0.7, high=1.6)",
    "crop(padding=30)",
  )
  config.optim.learning_rate = 0.1
  config.optim.weight_decay = 0.0005
  config.schedule.warmup_epochs = 2.0
  if arg in ("", "unet", "tiny"):
    config.model = ConfigDict({"name": "unet", "width": 0.5, "norm": "batch", "dropout": 0.0})
  elif arg == "fcn8s":
    config.model = ConfigDict({"name": "fcn8s_vgg16"})
    config.optim.learning_rate = 0.001  # it has no norms
  if arg == "tiny":
    config.model.features = (4, 4)
    config.data.transforms = ("scale(low=0.7, high=1.6)",)
    config.data.train_examples = 16
    config.data.eval_examples = 8
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
