"""Names for types that recur throughout the package.

Only the standard library is imported here, so that reading runs needs no JAX; the types of layers
are in `cnnlab.nn.types`. Names for the variables of a network are Flax's, from `flax.typing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

PyTree: TypeAlias = Any
"""Nested dicts, lists, tuples and dataclasses with arrays, or their shapes, as leaves."""

Json: TypeAlias = dict[str, Any]
"""A JSON object: strings, numbers, booleans, None, and lists and objects of these."""

JsonMapping: TypeAlias = Mapping[str, Any]
"""A JSON object that is only read, such as a resolved config or a section of it."""

OptionValue: TypeAlias = Any
"""The value of a model's option; `create_model` checks it against the annotation of the field."""

Options: TypeAlias = dict[str, OptionValue]
"""Keyword arguments by name, such as the options of a model in the size table of its family."""
