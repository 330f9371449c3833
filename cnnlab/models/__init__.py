"""Architectures, one family per file, and the registry that builds them by name.

A model is a Flax module whose fields are its options; `apply(variables, x, train=...)` takes
[batch, height, width, channels] and returns `(logits, feats)`, where `feats` is a dict of named
intermediate stages in order. `feature_maps` describes its maps to decoders. Logits are [batch,
classes], or [batch, height, width, classes] of segmentation networks.
"""

from cnnlab.annotations import describe_type
from cnnlab.models.encoder import FeatureMap, create_encoder, feature_maps, pyramid
from cnnlab.models.registry import (
  FAMILIES,
  Option,
  create_model,
  list_models,
  model_options,
  register_model,
)
from cnnlab.models.sliding import Sliding, slide

__all__ = [
  "FAMILIES",
  "FeatureMap",
  "Option",
  "Sliding",
  "create_encoder",
  "create_model",
  "describe_type",
  "feature_maps",
  "list_models",
  "model_options",
  "pyramid",
  "register_model",
  "slide",
]
