"""torchvision's names for the residual, dense and transformer families."""

from __future__ import annotations

from cnnlab.weights.names import Family, ParameterPath, numbers

_RESNET = {"conv1": "conv1", "norm1": "bn1", "head": "fc"}
_SHORTCUT = {"shortcut_conv": "downsample.0", "shortcut_norm": "downsample.1"}


def resnet(path: ParameterPath) -> str | None:
  """Returns torchvision's name of a ResNet's module, None if there is none."""
  place = numbers(r"stage(\d+)_block(\d+)", path[0])
  if place is None or len(path) != 2:
    return _RESNET.get(path[0])
  layer = _SHORTCUT.get(path[1], path[1].replace("norm", "bn"))
  return f"layer{place[0]}.{place[1] - 1}.{layer}"


_DENSENET = {
  "conv1": "features.conv0",
  "norm1": "features.norm0",
  "norm_last": "features.norm5",
  "head": "classifier",
}


def _densenet(path: ParameterPath) -> str | None:
  if place := numbers(r"block(\d+)_layer(\d+)", path[0]):
    return f"features.denseblock{place[0]}.denselayer{place[1]}.{path[1]}"
  if path[0].startswith("transition"):
    return f"features.{path[0].replace('_', '.')}"
  return _DENSENET.get(path[0])


_VIT = {
  "patch_embedding": "conv_proj",
  "class_token": "class_token",
  "pos_embedding": "encoder.pos_embedding",
  "norm_last": "encoder.ln",
  "head": "heads.head",
}
_ENCODER = {
  "norm1": "ln_1",
  "attention_qkv": "self_attention.in_proj_{leaf}",
  "attention_out": "self_attention.out_proj",
  "norm2": "ln_2",
  "mlp1": "mlp.0",
  "mlp2": "mlp.3",
}


def _vit(path: ParameterPath) -> str | None:
  if place := numbers(r"block(\d+)", path[0]):
    return f"encoder.layers.encoder_layer_{place[0] - 1}.{_ENCODER[path[1]]}"
  return _VIT.get(path[0])


FAMILIES = {
  "resnet": Family(resnet),
  # torchvision has none of these; their widespread ports use the same names, but for the head.
  "resnet_cifar": Family(resnet, renamed=((r"^linear\.", "fc."),)),
  # The published files still use names from before 2017.
  "densenet": Family(_densenet, renamed=((r"(denselayer\d+\.(?:norm|conv))\.(\d)\.", r"\1\2."),)),
  "vit": Family(
    _vit, renamed=((r"\.mlp\.linear_1\.", ".mlp.0."), (r"\.mlp\.linear_2\.", ".mlp.3."))
  ),
}
