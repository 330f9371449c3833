"""Moves of strong players of Go, predicted by the policy network of AlphaGo (doi:10.1038/nature16961).

Command: python -m cnnlab train --config=configs/go.py --config.data.name=go:GAMES --workdir=runs/go
Forms: `alphago` (default), the published net with 192 filters; `policy_resnet`, or any policy net by
name; `small`, 32 filters in 6 layers and 200,000 positions, for two CPU cores; and `tiny` (two steps,
for tests).
GAMES is an SGF file, a table of games (`cnnlab/go/games.py`), or a folder of them. A twentieth of the
games is the test set.
Recipe as published: batches of 16, rate 0.003 halved every 80 million steps, no momentum, 340 million
steps on 28 million positions, symmetries at random: 55.4 % of the moves, 57.0 % with 256 filters and
an average over symmetries. Here: larger batches, momentum, one pass, and a rate that decays to zero.
"""

from ml_collections import ConfigDict

from cnnlab.defaults import default_config


def get_config(arg: str = "alphago") -> ConfigDict:
  """Returns the page; `arg` is 'alphago', 'small', the name of a model, or 'tiny'."""
  config = default_config()
  config.batch_size = 64
  config.eval_batch_size = 256
  config.epochs = 1.0
  config.task = ConfigDict({"name": "move_prediction"})
  config.model = ConfigDict({"name": arg})
  config.data.name = "go:games.tsv.xz"
  config.data.max_bad_images = 10  # of the games of the TOM server, five break the ko rule
  config.data.eval_examples = 20_000
  config.data.transforms = ("dihedral",)
  config.optim.learning_rate = 0.05
  config.optim.weight_decay = 0.0
  config.schedule.final_factor = 0.0
  if arg in ("", "small", "tiny"):
    config.model = ConfigDict({"name": "alphago"})
  if arg in ("small", "tiny"):
    config.model.filters, config.model.depth = (32, 6) if arg == "small" else (4, 2)
    config.data.train_examples = 200_000 if arg == "small" else 64
  if arg == "tiny":
    config.batch_size = 16
    config.data.eval_examples = 32
    config.max_steps = 2
    config.log_every_steps = 1
  return config
