"""R-CNN, Fast R-CNN and Faster R-CNN on the same trunk: crops, a shared map, and learned proposals.

Sources: arXiv:1504.08083, tables 1 and 4: with VGG-16 on PASCAL VOC 2007, Fast R-CNN has 66.9 mAP and
R-CNN 66.0, trains 9 times as fast, and is 146 times as fast in a test; arXiv:1506.01497, tables 3 and
5: Faster R-CNN has 69.9, and no more waits 1.5 s for selective search; the lecture notes: a thousand
proposals of an image need not go through the network one by one. All have one map, of a stride of 8
pixels, and the same head, and classify 100 proposals of an image. `fast_stride4` is a control with a
map of twice the resolution. Times on the way from pixels to boxes are measured by `python -m
cnnlab.bench.regions`.
"""

from __future__ import annotations

from cnnlab.experiments.detection import choose
from cnnlab.lab import Claim, Condition, Experiment
from cnnlab.lab.experiment import Published
from cnnlab.lab.variants import Overrides

RECIPES = ("quick", "bccd", "tiny")
METRIC = "eval/map50"
TRAINED = Condition("the detectors have learned to find objects", "trainset/map50", ">=", 0.3)
FAST, FASTER = "arXiv:1504.08083", "arXiv:1506.01497"
LECTURE = "lecture notes on detection, R-CNN to Faster R-CNN"
FORMS = {"": "scenes", "quick": "scenes", "bccd": "quick"}  # of `cnnlab.experiments.detection`
BCCD: Overrides = {
  "data.name": "tfds:bccd",
  "data.eval_split": "test",
  "data.image_size": (120, 160),
  "data.flip": True,
  "batch_size": 8,
}
LEARNED: Overrides = {
  "task.name": "detection",
  "data.proposals": 0,
  "model.name": "fasterrcnn_resnet18",
  "model.anchor_scale": 0.25,
  "model.train_proposals": 200,
  "model.proposals": 100,
}


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  if recipe and recipe not in RECIPES:
    raise KeyError(recipe)
  chosen = choose(
    FORMS.get(recipe, recipe), "The papers' figures are for VGG-16 on PASCAL VOC 2007."
  )
  tiny = chosen.name == "tiny"
  own = {"scenes": {"epochs": 16.0}, "quick": BCCD}.get(chosen.name, {})
  few: Overrides = {"model.train_proposals": 16, "model.proposals": 8} if tiny else {}
  return Experiment(
    name="proposals",
    question="What do a shared map and learned proposals gain in accuracy and time?",
    config=f"configs/regions.py:{'tiny' if tiny else 'fast'}",
    overrides={**chosen.overrides, **own},
    variants={
      "rcnn": {"model.regions": "crop"},
      "fast": {},
      "fast_stride4": {"model.one_map": 4},
      "faster": {**LEARNED, **few},
    },
    base="fast",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    paper={
      "rcnn": Published(0.660, f"{FAST}, table 1"),
      "fast": Published(0.669, f"{FAST}, table 1"),
      "faster": Published(0.699, f"{FASTER}, table 3"),
    },
    claims=(
      Claim(
        "proposals from a shared map are classified better than crops",
        "fast", ">", "rcnn", f"66.9 against 66.0, {FAST}, table 1",
      ),
      Claim(
        "learned proposals are better than those of selective search",
        "faster", ">", "fast", f"69.9 against 66.9, {FASTER}, table 3",
      ),
      Claim(
        "a map of twice the resolution is better: objects of 8 pixels cover one position of the other",
        "fast_stride4", ">", "fast", "a control of the claims above",
      ),
      Claim(
        "the shared map needs at most a fifth of the multiply-adds",
        "fast", "<=", "rcnn", LECTURE, metric="multiply_adds", factor=0.2,
      ),
      Claim(
        "a step of training takes at most half the time",
        "fast", "<=", "rcnn", f"9.5 against 84 hours of training, {FAST}, table 4",
        metric="ms_per_step", factor=0.5,
      ),
    ),
    recipe=recipe or "quick",
    note=chosen.note,
  )  # fmt: skip
