"""torchvision's names for its segmentation networks, whose encoders are ResNets."""

from __future__ import annotations

from cnnlab.weights.names import Family, ParameterPath, numbers
from cnnlab.weights.names_modern import resnet

_HEAD = {"conv": "0", "norm": "1", "head": "4"}
_ASPP = {"point": "convs.0", "image": "convs.4", "project": "project"}


def _shared(path: ParameterPath) -> str | None:
  """Returns the name of a module of the encoder or the auxiliary head."""
  if path[0] == "encoder":
    found = resnet(path[1:])
    return found and f"backbone.{found}"
  if path[0] == "auxiliary":
    return f"aux_classifier.{_HEAD[path[1]]}"
  return None


def _fcn(path: ParameterPath) -> str | None:
  if path[0] == "classifier" and path[1] in _HEAD:
    return f"classifier.{_HEAD[path[1]]}"
  return _shared(path)


def _deeplab(path: ParameterPath) -> str | None:
  if path[0] == "classifier":
    # The pyramid is module 0 of the classifier.
    return f"classifier.{int(_HEAD[path[1]]) + (path[1] != 'head')}"
  if path[0] != "aspp":
    return _shared(path)
  branch, _, layer = path[1].rpartition("_")
  atrous = numbers(r"atrous(\d+)", branch)
  place = f"convs.{atrous[0]}" if atrous else _ASPP[branch]
  # The image's branch pools first.
  index = ("conv", "norm").index(layer) + (branch == "image")
  return f"classifier.0.{place}.{index}"


FAMILIES = {
  "fcn": Family(_fcn, spare=("aux_classifier.",), models="fcn_resnet*"),
  "deeplab": Family(_deeplab, spare=("aux_classifier.",), models="deeplabv3_resnet*"),
}
