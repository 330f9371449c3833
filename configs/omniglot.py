"""Omniglot: embeddings of handwritten characters, judged on characters of alphabets never seen.

Command: python -m cnnlab train --config=configs/omniglot.py --config.data.dir=DATA_DIR \
  --workdir=runs/omniglot
Forms: `omniglot` (default), `contrastive`, `softmax` (the codes of a classifier), and `tiny` (two steps on
scikit-learn's digits, for tests).
Data: the set's two "minimal" parts at 28x28 pixels, without the alphabets that both have: 136
characters of five alphabets train, 106 of Japanese (katakana), Sanskrit and Tagalog evaluate, 20 images
each. The net is that of matching networks (arXiv:1606.04080, section 4.1.1): four blocks of 64
filters of 3x3, batch norm, ReLU and 2x2 pooling.
Batches hold 32 characters with 4 images each. docs/embeddings.md has measured figures.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config

LOSSES = {
  "omniglot": "triplet(margin=0.2, mining='semi_hard')",
  "contrastive": "contrastive(margin=1.0)",
  "softmax": "softmax",
}
NET = {
  "name": "convnet",
  "features": (64, 64, 64, 64),
  "hidden": (),
  "norm": "batch",
  "pool_fit": "crop",
}


def get_config(arg: str = "") -> ConfigDict:
  """Returns the page; `arg` is one of `LOSSES`, 'tiny', or empty for omniglot."""
  if arg not in ("", "tiny", *LOSSES):
    raise KeyError(f"unknown form {arg!r} of this page; allowed: {', '.join(LOSSES)} and tiny")
  config = default_config()
  config.batch_size = 128
  config.epochs = 100.0
  config.eval_every_epochs = 20.0
  config.checkpoint_every_epochs = 20.0
  config.task = ConfigDict(
    {"name": "metric_learning", "loss": LOSSES.get(arg, LOSSES["omniglot"]), "ways": 20, "shots": 1}
  )
  config.model = ConfigDict(NET)
  config.data.name = "unseen:tfds:omniglot_small"
  config.data.train_split = "small1"
  config.data.eval_split = "small2"
  config.data.image_size = 28
  config.data.images_per_class = 4
  config.data.transforms = ("scale(low=0.85, high=1.15)", "crop(padding=3)")
  config.optim.name = "adam"
  config.optim.learning_rate = 0.001
  config.optim.weight_decay = 0.0
  config.schedule.warmup_epochs = 1.0
  if arg == "tiny":
    config.model = ConfigDict({"name": "convnet", "features": (4, 4), "hidden": ()})
    config.task.ways = 2
    config.data.name = "unseen:digits"
    config.data.train_split = ""
    config.data.eval_split = ""
    config.data.image_size = 0
    config.data.transforms = ()
    config.batch_size = 16
    config.max_steps = 2
    config.log_every_steps = 1
    config.schedule.warmup_epochs = 0.0
  return config
