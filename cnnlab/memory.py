"""Keeps a program's memory between its steps on a CPU."""

from __future__ import annotations

import ctypes
import functools
import os
import platform

# From glibc's malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
_LARGEST = 2**31 - 1
_HOLE = 512 * 2**20


@functools.cache
def keep_freed_memory() -> None:
  """Makes the C library keep what is freed, instead of returning it to the system.

  XLA:CPU allocates a program's temporary memory anew for each step. If it is mapped anew each time,
  clearing its pages takes up to a quarter of a small network's step. Call this before JAX starts its
  threads. Without glibc, or if the user has set any of glibc's own MALLOC_* variables, it does
  nothing.
  """
  if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
    return
  libc = ctypes.CDLL(None)
  libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
  libc.free.argtypes = [ctypes.c_void_p]
  libc.mallopt(_ARENA_MAX, 1)
  libc.mallopt(_MMAP_MAX, 0)
  libc.mallopt(_TRIM_THRESHOLD, _LARGEST)
  libc.mallopt(_TOP_PAD, 64 * 2**20)
  # Small blocks are cut from the smallest hole that fits: from this one, and not from the hole that
  # a step's memory leaves, which would then be too small for the next step. Untouched, it is free.
  hole = libc.malloc(_HOLE)
  libc.malloc(1)  # stays, so that the hole does not become one with what follows
  libc.free(hole)
