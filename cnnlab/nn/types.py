"""Names for the types of layers and their factories."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import jax
from jax.typing import DTypeLike

DType: TypeAlias = DTypeLike | None
"""The type of a computation, such as `jnp.bfloat16`; None is that of the inputs and parameters."""

Layer: TypeAlias = Callable[..., jax.Array]
"""A layer, or a function in its place: maps an array to an array."""

LayerFactory: TypeAlias = Callable[..., Layer]
"""A function that builds a layer from its options and `name`, such as the class of a module."""
