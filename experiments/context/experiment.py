"""Context at several scales (PSP, ASPP), and resolution kept by dilation at equal parameters.

Sources: arXiv:1612.01105, table 1: pyramid pooling adds 4.5 points of mean IoU to a ResNet-50 on
ADE20K, and average pooling is better than max pooling; arXiv:1706.05587, tables 1 and 5: the finer the
output stride, the better, and ASPP is as good as the cascaded model; the lecture notes: dilation
enlarges the field of view without parameters or loss of resolution. All variants have the same
encoder; none has an auxiliary head, which would be a second difference.
"""

from __future__ import annotations

from cnnlab.experiments.segmentation import METRIC, TRAINED, choose, page
from cnnlab.lab import Claim, Experiment
from cnnlab.lab.experiment import Published

RECIPES = ("paper", "quick", "scenes", "tiny")
PSP, DEEPLAB = "arXiv:1612.01105, table 1", "arXiv:1706.05587, table 1"
NOTES = "lecture notes on segmentation: PSPNet, DeepLabv3"


def get_experiment(recipe: str = "") -> Experiment:
  """Returns the experiment; `recipe` is one of `RECIPES`, or empty for quick.

  Raises:
    KeyError: the recipe is unknown.
  """
  chosen = choose(
    recipe,
    quick={"model.width": 0.25},
    tiny={"model.width": 0.25, "model.blocks": 1},
    note="The papers' figures are for a ResNet-50 trained on ImageNet first: the output strides on "
    "PASCAL VOC 2012, with three more blocks; the pyramids on ADE20K, given with the claims.",
  )
  tiny = chosen.name == "tiny"
  encoder, strides = ("resnet20", (4, 2, 1)) if tiny else ("resnet18", (32, 16, 8))
  finest, features = strides[-1], {"paper": 256, "tiny": 4}.get(chosen.name, 64)
  alone = {"model.output_stride": finest, "model.auxiliary": False}
  pyramid = {"model.name": f"pspnet_{encoder}", **alone}
  by_stride = {
    f"stride{usual}": {"model.name": f"fcn32s_{encoder}", "model.output_stride": stride}
    for usual, stride in zip((32, 16, 8), strides, strict=True)
  }
  return Experiment(
    name="context",
    question="Do context at several scales and a finer output stride improve segmentation?",
    config=page(chosen.name, f"fcn32s_{encoder}"),
    overrides=chosen.overrides,
    variants={
      **by_stride,
      "psp": pyramid,
      "psp_max": {**pyramid, "model.pooling": "max"},
      "aspp": {
        "model.name": f"deeplabv3_{encoder}", "model.head_features": features, **alone,
      },
    },
    base="stride8",
    seeds=chosen.seeds,
    metric=METRIC,
    tuning=chosen.tuning,
    regime=(TRAINED,),
    paper={
      "stride32": Published(0.7006, DEEPLAB),
      "stride16": Published(0.7388, DEEPLAB),
      "stride8": Published(0.7518, DEEPLAB),
    },
    claims=(
      Claim("dilation in place of a stride helps", "stride16", ">", "stride32", DEEPLAB),
      Claim("in place of two strides, it helps again", "stride8", ">", "stride16", DEEPLAB),
      Claim("it adds no parameters", "stride8", "<=", "stride32", NOTES, "parameters"),
      Claim("pyramid pooling helps", "psp", ">", "stride8", f"41.07 against 37.23, {PSP}; {NOTES}"),
      Claim(
        "average pooling is better than max pooling", "psp", ">", "psp_max", f"41.07 against 40.18, {PSP}"
      ),
      Claim("atrous pyramid pooling helps", "aspp", ">", "stride8", NOTES),
    ),
    recipe=chosen.name,
    note=chosen.note,
  )  # fmt: skip
