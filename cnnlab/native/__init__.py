"""Convolutions and batch statistics in C++ over oneDNN, for training on a CPU.

The library is compiled on first use, which takes some seconds, and kept in the cache. Where this is
not possible, XLA computes everything; `describe` says which of the two it is, and why.
"""

from cnnlab.native.library import computes, describe, disabled, enabled, select

__all__ = ["computes", "describe", "disabled", "enabled", "select"]
