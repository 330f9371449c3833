"""One-shot learning of characters: contrastive loss, triplet loss by its mining, a classifier's codes.

Sources: FaceNet (arXiv:1503.03832, section 3.2: the hardest negatives lead to bad local minima, semi-hard
ones do not); arXiv:1703.07737 (batch-hard triplets beat other mining, and triplets a classifier's
codes); Hadsell et al. (CVPR 2006); matching networks (arXiv:1606.04080, table 1), which find a
classifier's codes 18 points behind a siamese network's. All embeddings come from the same net, are
divided by their length, and are judged by nearest neighbours among 20 characters of alphabets that
training has not seen.
"""

from __future__ import annotations

from cnnlab.experiments.recipes import Recipe
from cnnlab.lab import Claim, Condition, Experiment, Published, Tuning
from cnnlab.lab.variants import Overrides

RECIPES = ("paper", "quick", "tiny")
FACENET, BATCH_HARD = "arXiv:1503.03832, section 3.2", "arXiv:1703.07737, section 4"
MATCHING = "arXiv:1606.04080, table 1"
METRIC = "eval/accuracy"
NOTE = (
  "136 characters train and 106 of other alphabets test; the paper's figures are for 1,200 and 423 "
  "characters, with rotations as further classes."
)
SEEDS = (0, 1, 2, 3, 4)
VARIANTS: dict[str, Overrides] = {
  "contrastive": {"task.loss": "contrastive(margin=1.0)"},
  "triplet_all": {"task.loss": "triplet(mining='all', distance='euclidean')"},
  "triplet_semi_hard": {"task.loss": "triplet(mining='semi_hard')"},
  "triplet_hard": {"task.loss": "triplet(mining='hard', distance='euclidean')"},
  "classifier": {"task.loss": "softmax"},
  "pixels": {
    "task.loss": "pixels",
    "task.normalize": False,
    "max_steps": 1,
    "schedule.warmup_epochs": 0.0,
  },
}


def _recipe(name: str) -> Recipe:
  if name == "paper":
    return Recipe(name, {"epochs": 400.0}, SEEDS, NOTE)
  if name in ("", "quick"):
    # Among 20 characters there have to be as many: a fifth of those that train.
    tuning = Tuning({"optim.learning_rate": (0.0003, 0.001, 0.003, 0.01, 0.03)}, validation=0.2)
    overrides = {"epochs": 60.0, "model.features": (32, 32, 32, 32), "eval_every_epochs": 0.0}
    return Recipe("quick", overrides, SEEDS, f"Quick recipe: half the filters. {NOTE}", tuning)
  if name == "tiny":
    return Recipe(name, {}, (0, 1), "Two steps on digits, for tests only.")
  raise KeyError(name)


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = _recipe(recipe)
  return Experiment(
    name="one_shot",
    question="Which loss makes embeddings that tell unseen characters apart from one example?",
    config="configs/omniglot.py" + (":tiny" if chosen.name == "tiny" else ""),
    overrides=chosen.overrides,
    variants=VARIANTS,
    base="triplet_semi_hard",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    regime=(
      Condition(
        "the nets tell unseen characters apart", METRIC, ">=", 0.5,
        ("contrastive", "triplet_*", "classifier"),
      ),
    ),
    claims=(
      Claim("triplets are better than pairs", "triplet_semi_hard", ">", "contrastive", FACENET),
      Claim(
        "the hardest triplets are better than semi-hard ones",
        "triplet_hard", ">", "triplet_semi_hard", f"{BATCH_HARD}, table 1; {FACENET} claims the contrary",
      ),
      Claim("the hardest triplets are better than all", "triplet_hard", ">", "triplet_all", BATCH_HARD),
      Claim(
        "triplets are better than the codes of a classifier",
        "triplet_hard", ">", "classifier", f"{BATCH_HARD}; {MATCHING}: 88.0 against 69.5 %",
      ),
      Claim(
        "so are pairs", "contrastive", ">", "classifier", f"{MATCHING}: 88.0 against 69.5 %",
      ),
      Claim(
        "the codes of a classifier are better than pixels",
        "classifier", ">", "pixels", f"{MATCHING}: 69.5 against 26.7 %",
      ),
      Claim(
        "a lower equal error rate in verification goes with it",
        "triplet_hard", "<", "classifier", BATCH_HARD, metric="eval/eer",
      ),
    ),
    paper={
      "contrastive": Published(0.880, MATCHING, "convolutional siamese net"),
      "classifier": Published(0.695, MATCHING, "baseline classifier"),
      "pixels": Published(0.267, MATCHING, "pixels"),
    },
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
