"""Whether the native library is used, and why not; loads it on first use.

The environment variable CNNLAB_NATIVE is 'auto' (used where it can be built), 'off' or 'require' (an
error where it cannot). A run's config key `native` overrides it.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import logging
import os
from collections.abc import Iterator

import jax

from cnnlab.errors import ConfigError, unknown
from cnnlab.native.build import CannotBuild, build

log = logging.getLogger(__name__)

MODES = ("auto", "off", "require")
VARIABLE = "CNNLAB_NATIVE"
HANDLERS = (
  "cnnlab_conv",
  "cnnlab_conv_images_gradient",
  "cnnlab_conv_kernel_gradient",
  "cnnlab_moments",
  "cnnlab_batch_norm_gradient",
  "cnnlab_keep",
  "cnnlab_matmul",
)

_mode: str | None = None  # None: the environment decides


def select(mode: str) -> None:
  """Chooses for this process: 'off', 'require', or 'auto' for what the environment says.

  Raises:
    ConfigError: an unknown mode, or 'require' where the library cannot be used.
  """
  global _mode
  if mode not in MODES:
    raise ConfigError(unknown("value of config key 'native'", mode, MODES))
  _mode = None if mode == "auto" else mode
  enabled()


@contextlib.contextmanager
def disabled() -> Iterator[None]:
  """Within this context, what is traced is XLA's alone."""
  global _mode
  before, _mode = _mode, "off"
  try:
    yield
  finally:
    _mode = before


def enabled() -> bool:
  """Returns whether functions that are traced now use the native library.

  Raises:
    ConfigError: it is required and cannot be used, or the environment variable is unknown.
  """
  mode = _chosen()
  if mode == "off":
    return False
  reason = _reason_against()
  if reason and mode == "require":
    raise ConfigError(f"the native library is required, but {reason}")
  return not reason


def computes(*arrays: jax.Array) -> bool:
  """Returns whether functions of these arrays that are traced now may use the library.

  It needs float32, or bfloat16 on some processors, and arrays that are not empty. Inside a
  `jax.shard_map` that tracks what varies between devices (`check_vma=True`), XLA computes.
  """
  return enabled() and all(
    array.size and _has_dtype(array.dtype.name) and not _is_tracked(array) for array in arrays
  )


def _is_tracked(array: jax.Array) -> bool:
  kind = jax.typeof(array)
  manual = getattr(kind, "manual_axis_type", None)  # `vma` in older versions of JAX
  return bool(getattr(manual, "varying", None) or getattr(kind, "vma", None))


def _has_dtype(name: str) -> bool:
  return name == "float32" or (name == "bfloat16" and bool(_load().cnnlab_computes_bfloat16()))


def describe() -> str:
  """Returns what computes convolutions: 'oneDNN 3.2.0', or 'XLA' and why."""
  if _chosen() == "off":
    return "XLA (the native library is off)"
  reason = _reason_against()
  if reason:
    return f"XLA ({reason})"
  return "oneDNN " + _load().cnnlab_onednn_version().decode()


def _chosen() -> str:
  mode = _mode or os.environ.get(VARIABLE) or "auto"
  if mode not in MODES:
    raise ConfigError(unknown(f"value of ${VARIABLE}", mode, MODES))
  return mode


@functools.cache
def _reason_against() -> str:
  """Returns why the library cannot be used, or ''."""
  platform = jax.default_backend()
  if platform != "cpu":
    return f"it is for CPUs, and JAX's platform is {platform}"
  try:
    _load()
  except (CannotBuild, OSError, AttributeError) as error:
    log.info("XLA computes the convolutions: %s", error)
    return str(error)
  return ""


@functools.cache
def _load() -> ctypes.CDLL:
  path = build()
  # OpenMP's threads would spin on the cores that XLA's threads need. It reads this when it is loaded.
  before = os.environ.get("OMP_WAIT_POLICY")
  os.environ["OMP_WAIT_POLICY"] = before or "passive"
  try:
    library = ctypes.CDLL(str(path))
  finally:
    if before is None:
      del os.environ["OMP_WAIT_POLICY"]
  library.cnnlab_onednn_version.restype = ctypes.c_char_p
  for name in HANDLERS:
    handler = jax.ffi.pycapsule(getattr(library, name))
    jax.ffi.register_ffi_target(name, handler, platform="cpu")
  return library
