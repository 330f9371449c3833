"""A network's own scores, with a grid of neighbors, and with a fully connected random field.

Source: arXiv:1210.5644 (table 1: a fully connected field beats a grid, which beats the scores alone) and
arXiv:1412.7062 (table 1: the field on a network's scores brings about 4 points of mean IoU); the lecture
notes on random fields. `raw`, `grid` and `fully_connected` are one and the same trained network, since a
field with nothing to learn acts in evaluation alone and all share learning rate and seeds; hence no tuning:
the rate is the one that `fcn_skips` found for this network. `grid_learned` is trained through its field.
Weights were chosen on CamVid's validation images for this network, where smoothness did not help; widths
are those of the field's authors' code in proportion to the image's size (docs/crf.md).
"""

from __future__ import annotations

from cnnlab.experiments.segmentation import BOUNDARY, METRIC, TRAINED, choose, page
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.experiment import Published

RECIPES = ("paper", "quick", "scenes", "tiny")
FIELD = "arXiv:1210.5644, table 1"
DEEPLAB = "arXiv:1412.7062, table 1"
# Width of positions in pixels, and number of cells of the approximation.
WIDTHS = {"paper": (80, 4096), "quick": (20, 512), "scenes": (8, 512), "tiny": (4, 16)}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    quick={"model.width": 0.25, "optim.learning_rate": 0.3},
    tiny={"model.width": 0.25, "model.blocks": 1},
    note="The paper's figures are for DeepLab on VGG-16, trained on ImageNet first, on PASCAL VOC 2012.",
  )
  encoder = "resnet20" if chosen.name == "tiny" else "resnet18"
  width, cells = WIDTHS[chosen.name]
  grid = "weight=0.01, contrast=0.5"
  return Experiment(
    name="crf",
    question="Does a random field over a network's scores refine borders?",
    config=page(chosen.name, f"fcn8s_{encoder}"),
    overrides=chosen.overrides,
    variants={
      "raw": {"task.crf": ""},
      "grid": {"task.crf": f"grid({grid})"},
      "grid_learned": {"task.crf": f"grid({grid}, learned='all', iterations=5)"},
      "fully_connected": {
        "task.crf": f"fully_connected(appearance=2, smoothness=0, position_width={width}, cells={cells})"
      },
    },
    base="raw",
    seeds=chosen.seeds,
    metric=METRIC,
    regime=(TRAINED,),
    paper={"raw": Published(0.598, DEEPLAB), "fully_connected": Published(0.6374, DEEPLAB)},
    claims=(
      Claim("a fully connected field improves the scores", "fully_connected", ">", "raw", DEEPLAB),
      Claim(
        "it refines borders", "fully_connected", ">", "raw", DEEPLAB, BOUNDARY,
      ),
      Claim("a grid refines borders too", "grid", ">", "raw", FIELD, BOUNDARY),
      Claim("all pairs are better than neighbors", "fully_connected", ">", "grid", FIELD),
      Claim("also at borders", "fully_connected", ">", "grid", FIELD, BOUNDARY),
      Claim(
        "a field is better if it is learned with the network",
        "grid_learned", ">", "grid", "arXiv:1502.03240",
      ),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
