"""Inspection of a network without training it: layer tables, receptive fields, figures."""

from cnnlab.inspect.fields import Field, Fields
from cnnlab.inspect.sheet import LayerRow, Sheet, describe, optimizer_names, optimizer_slots
from cnnlab.inspect.trace import receptive_fields

__all__ = [
  "Field",
  "Fields",
  "LayerRow",
  "Sheet",
  "describe",
  "optimizer_names",
  "optimizer_slots",
  "receptive_fields",
]
