"""Conditional random fields over a network's scores: mean-field inference on grids and all pairs."""

from cnnlab.crf.layers import CRFS, Crf, FullyConnectedCrf, GridCrf, create_crf, read_crf
from cnnlab.crf.mean_field import free_energy, mean_field, potts, update
from cnnlab.crf.network import refined

__all__ = [
  "CRFS",
  "Crf",
  "FullyConnectedCrf",
  "GridCrf",
  "create_crf",
  "free_energy",
  "mean_field",
  "potts",
  "read_crf",
  "refined",
  "update",
]
