"""torchvision's names for AlexNet, VGG and GoogLeNet.

torchvision numbers the layers of `features` and `classifier`, including those without parameters.
"""

from __future__ import annotations

from cnnlab.models.alexnet import AlexNet
from cnnlab.models.vgg import VGG
from cnnlab.weights.names import Family, ParameterPath, TensorSource, numbers

_ALEXNET = {
  "conv1": "features.0",
  "conv2": "features.3",
  "conv3": "features.6",
  "conv4": "features.8",
  "conv5": "features.10",
  "fc7": "classifier.4",
  "head": "classifier.6",
}


def _alexnet(net: AlexNet, path: ParameterPath) -> str | TensorSource | None:
  if path[0] == "fc6":
    return TensorSource("classifier.1", flattened=net.features[-1])
  return _ALEXNET.get(path[0])


def _vgg(net: VGG, path: ParameterPath) -> str | TensorSource | None:
  if path[0] == "fc6":
    return TensorSource("classifier.0", flattened=net.features[-1])
  if place := numbers(r"(?:conv|norm)(\d+)_(\d+)", path[0]):
    stage, conv = place
    normed = net.norm != "none"
    # Each convolution is followed by an activation, with a norm in between if there is one.
    before = sum(net.convs[: stage - 1]) + conv - 1
    index = before * (3 if normed else 2) + (stage - 1)
    return f"features.{index + path[0].startswith('norm')}"
  return {"fc7": "classifier.3", "head": "classifier.6"}.get(path[0])


_BRANCHES = {
  "branch1": "branch1",
  "branch2_reduce": "branch2.0",
  "branch2": "branch2.1",
  "branch3_reduce": "branch3.0",
  "branch3": "branch3.1",
  "branch4": "branch4.1",
}
_AUXILIARY = {"conv1_conv": "conv.conv", "conv1_norm": "conv.bn", "head": "fc2"}


def _googlenet(path: ParameterPath) -> str | TensorSource | None:
  if path[0].startswith("aux"):
    if path[1] == "fc1":
      return TensorSource(f"{path[0]}.fc1", flattened=128)
    return f"{path[0]}.{_AUXILIARY[path[1]]}"
  if path[0] == "head":
    return "fc"
  *module, layer = path
  branch, _, kind = layer.rpartition("_")
  place = [*module, _BRANCHES.get(branch, branch), {"conv": "conv", "norm": "bn"}[kind]]
  return ".".join(place)


FAMILIES = {
  "alexnet": Family(net_rule=_alexnet),
  "googlenet": Family(_googlenet, spare=("aux1.", "aux2.")),
  "vgg": Family(net_rule=_vgg),
}
