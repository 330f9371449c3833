"""Shared by the families: names of the ways to halve a map, and pooling by name."""

from __future__ import annotations

from typing import Literal

import jax

from cnnlab.errors import ConfigError, unknown
from cnnlab.nn import avg_pool, max_pool
from cnnlab.nn.geometry import Padding

Downsample = Literal["max", "avg", "stride"]
POOLS = {"max": max_pool, "avg": avg_pool}


def pool(
  kind: str, x: jax.Array, window: int, stride: int, padding: Padding = 0, fit: str = "exact"
) -> jax.Array:
  """Pools [batch, height, width, channels] by `kind`, 'max' or 'avg'; see `cnnlab.nn.pool`."""
  if kind not in POOLS:
    raise ConfigError(unknown("pooling", kind, POOLS))
  return POOLS[kind](x, window, stride, padding, fit)


def scaled(channels: int, width: float) -> int:
  """Returns `channels` times the width multiplier, rounded, at least 1."""
  return max(1, round(channels * width))
