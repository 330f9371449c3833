"""ZFNet: "Visualizing and Understanding Convolutional Networks" (arXiv:1311.2901), figure 3.

AlexNet with a first convolution of 7x7 and stride 2 instead of 11x11 and stride 4, stride 2 in the
second, and no groups: 62,357,608 parameters. Maps of 110, 55, 26 and 13 pixels as in the figure;
contrast is normalized across channels after the first two poolings, for which local response norm
with AlexNet's constants stands. Initial weights N(0, 0.01²), biases zero (section 3).

The stabilizing renormalization of filters with an RMS above 0.1 belongs to training and is left
out. Ablations of the paper's table 3 are options: `hidden=(2048, 2048)`, `hidden=()`,
`features=(96, 256, 512, 1024, 512)`.
"""

from __future__ import annotations

from cnnlab.models.alexnet import AlexNet
from cnnlab.types import Options, OptionValue

SIZES: dict[str, Options] = {
  "zfnet": {
    "features": (96, 256, 384, 384, 256),
    "kernel_sizes": (7, 5, 3, 3, 3),
    "strides": (2, 2, 1, 1, 1),
    "paddings": (1, 0, 1, 1, 1),
    "pool_fit": "pad",
    "norm": "lrn",
    "norm_after_pool": True,
    "dropout_at": "output",
    "initial": "paper",
  },
}


def build(name: str, **options: OptionValue) -> AlexNet:
  """Returns the net called `name` with the given options replaced."""
  return AlexNet(**{**SIZES[name], **options})
