"""The recipes of the Go experiments: forms of one experiment that differ in size and cost.

  paper   nets of AlphaGo's width and depth, ten passes over all games; for an accelerator
  quick   for two CPU cores: one pass over 100,000 positions of different games, nets of 6 layers and
          32 filters with batch norm, 5,000 positions of held-out games
  tiny    two steps, for the tests

An empty name selects `quick`. `--config.data.name=go:GAMES` names the games. Positions are turned and
mirrored at random; the rate decays to zero, and every variant of `quick` tries the same rates. One
pass is far from convergence: AlphaGo's nets made 340 million steps of 16 positions.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import Recipe
from cnnlab.lab import Condition, Tuning
from cnnlab.lab.variants import Overrides

PAGE = "configs/go.py"
TABLE3 = "doi:10.1038/nature16961, extended data table 3"
SEEDS = (0, 1, 2, 3, 4)
RATES = (0.03, 0.1, 0.3)
# The move that most often follows the last one is right in less than a tenth of the cases.
LEARNED = Condition("the nets have learned to predict moves", "eval/error", "<=", 0.85)

PAPER: Overrides = {"batch_size": 256, "epochs": 10.0, "data.eval_examples": 0}
QUICK: Overrides = {
  "epochs": 1.0,
  "eval_every_epochs": 0.25,
  "checkpoint_every_epochs": 0.0,
  "data.train_examples": 100_000,
  "data.eval_examples": 5_000,
  "model.filters": 32,
  "model.norm": "batch",
}
TINY: Overrides = {
  "batch_size": 8,
  "eval_batch_size": 8,
  "max_steps": 2,
  "log_every_steps": 1,
  "checkpoint_every_epochs": 0.0,
  "data.train_examples": 32,
  "data.eval_examples": 16,
  "model.filters": 4,
}
NOTE = (
  "Quick recipe: one pass over 100,000 positions, small nets. The paper's figures are for 13 layers of "
  "192 filters and about 190 passes over 28 million positions of other games."
)


def choose(
  name: str,
  *,
  paper: Overrides | None = None,
  quick: Overrides | None = None,
  tiny: Overrides | None = None,
) -> Recipe:
  """Returns the recipe with the given name, to be applied to `PAGE`.

  Args:
    name: `paper`, `quick`, `tiny`, or empty for `quick`.
    paper, quick, tiny: overrides for these forms, in addition to those above.

  Raises:
    KeyError: the name is unknown.
  """
  if name == "paper":
    return Recipe(name, {**PAPER, **(paper or {})}, SEEDS, "Ten passes over the games given.")
  if name == "tiny":
    return Recipe(name, {**TINY, **(tiny or {})}, (0, 1), "Two steps, for tests only.")
  if name in ("", "quick"):
    tuning = Tuning({"optim.learning_rate": RATES})
    return Recipe("quick", {**QUICK, **(quick or {})}, SEEDS, NOTE, tuning)
  raise KeyError(name)
