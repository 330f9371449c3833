"""Architectures, a family a file, and the registry that builds them by name.

A model is a Flax module whose fields are its options; `apply(variables, x, train=...)` takes
[batch, height, width, channels] and returns `(logits, feats)`, `feats` being a dict of named
intermediate stages in order.
"""

from cnnlab.models.registry import (
  FAMILIES,
  Option,
  create_model,
  list_models,
  model_options,
)
from cnnlab.models.sliding import Sliding, slide

__all__ = [
  "FAMILIES",
  "Option",
  "Sliding",
  "create_model",
  "list_models",
  "model_options",
  "slide",
]
