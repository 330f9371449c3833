"""torchvision's names for its detectors, whose encoders are ResNets with a feature pyramid.

The weights that torchvision publishes for COCO were trained with frozen norms whose epsilon is 0, which
it sets when it loads them; ours stays 1e-5.
"""

from __future__ import annotations

from cnnlab.weights.names import Family, ParameterPath, TensorSource, numbers
from cnnlab.weights.names_modern import resnet

_BOX = {"fc6": "box_head.fc6", "fc7": "box_head.fc7"}
_BOX |= {"classes": "box_predictor.cls_score", "boxes": "box_predictor.bbox_pred"}
_RPN = {"conv": "conv.0.0", "score": "cls_logits", "shift": "bbox_pred"}
_TOWERS = {
  "class_tower": ("classification_head", "cls_logits"),
  "box_tower": ("regression_head", "bbox_reg"),
}
# Older files, such as the published ones, have single layers in place of blocks.
_RENAMED = (
  (r"(fpn\.(?:inner|layer)_blocks\.\d)\.(weight|bias)$", r"\1.0.\2"),
  (r"(rpn\.head\.conv)\.(weight|bias)$", r"\1.0.0.\2"),
  *((rf"(_head\.conv)\.{2 * i}\.(weight|bias)$", rf"\1.{i}.0.\2") for i in range(4)),
)
_POOLED_CHANNELS = 256


def _shared(path: ParameterPath) -> str | None:
  """Returns the name of a module of the encoder or the pyramid."""
  if path[0] == "encoder":
    found = resnet(path[1:])
    return found and f"backbone.body.{found}"
  if path[0] != "fpn":
    return None
  if extra := numbers(r"extra(\d)", path[1]):
    return f"backbone.fpn.extra_blocks.p{extra[0] + 5}"
  kind = {"lateral": "inner", "output": "layer"}[path[1].rstrip("0123456789")]
  (index,) = numbers(r"[a-z]+(\d+)", path[1]) or (0,)
  return f"backbone.fpn.{kind}_blocks.{index - 1}.0"


def _retinanet(path: ParameterPath) -> str | None:
  if path[0] not in _TOWERS:
    return _shared(path)
  head, last = _TOWERS[path[0]]
  conv = numbers(r"conv(\d+)", path[1])
  return f"head.{head}.{f'conv.{conv[0] - 1}.0' if conv else last}"


def _faster_rcnn(path: ParameterPath) -> str | TensorSource | None:
  if path[0] == "rpn":
    return f"rpn.head.{_RPN[path[1]]}"
  if path[0] != "box":
    return _shared(path)
  name = f"roi_heads.{_BOX[path[-1]]}"
  return TensorSource(name, _POOLED_CHANNELS) if path[1] == "fc6" else name


FAMILIES = {
  "retinanet": Family(_retinanet, renamed=_RENAMED, models="retinanet_resnet*_fpn"),
  "faster_rcnn": Family(_faster_rcnn, renamed=_RENAMED, models="fasterrcnn_resnet*_fpn"),
}
