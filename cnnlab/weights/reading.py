"""Files of weights to named arrays: PyTorch's, safetensors, NumPy's."""

from __future__ import annotations

import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from cnnlab.errors import CnnlabError
from cnnlab.weights.pth import PthError, read_pth

Tensors = Mapping[str, Any]
SUFFIXES = (".pth", ".pt", ".safetensors", ".npz")
# What PyTorch's DataParallel and `torch.compile` put before every name.
PREFIXES = ("module.", "_orig_mod.")

BAD_HEADER = (SyntaxError, tokenize.TokenError)  # NumPy's headers are Python literals
# Parts of a tensor of 8 bits, as TensorFlow.js stores them: its values are q * scale + min.
QUANTIZED = (".q", ".scale", ".min")
MOST_UNPACKED = 100  # bytes of arrays for each byte of an .npz file; trained weights hardly shrink


class WeightsError(CnnlabError):
  """Weights that cannot be read, or that do not fit the model."""


def read_parts(files: Sequence[str]) -> dict[str, np.ndarray]:
  """Returns the tensors of several files, see `read_tensors`.

  Raises:
    WeightsError: a file cannot be read, or a name is in two of them.
  """
  tensors: dict[str, np.ndarray] = {}
  for file in files:
    found = read_tensors(file)
    if twice := sorted(found.keys() & tensors.keys()):
      raise WeightsError(f"weights file {file!r} has {twice[0]!r}, which an earlier file has too")
    tensors |= found
  return tensors


def read_tensors(source: str | os.PathLike[str] | Tensors) -> dict[str, np.ndarray]:
  """Returns {name: array} of a `.pth`, `.safetensors` or `.npz` file or of a mapping.

  A `.pth` file is read without PyTorch; no code in any of them is run. Prefixes that PyTorch's
  wrappers put before every name of a file are removed. `NAME.q`, `NAME.scale` and `NAME.min` of a
  file are the tensor NAME in 8 bits.

  Raises:
    WeightsError: the file is missing, unreadable or of an unknown type.
  """
  if isinstance(source, Mapping):
    return {str(key): _array(value) for key, value in source.items()}
  path = os.fspath(source)
  if not os.path.isfile(path):
    raise WeightsError(f"weights file {path!r} does not exist")
  if not path.endswith(SUFFIXES):
    allowed = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    raise WeightsError(f"weights file {path!r} must end with {allowed}")
  read = {".safetensors": _read_safetensors, ".npz": _read_npz}.get(
    os.path.splitext(path)[1], read_pth
  )
  try:
    return _dequantized(_unwrapped(read(path)))
  except (PthError, OSError, ValueError, KeyError, TypeError, EOFError, MemoryError) as error:
    raise WeightsError(f"weights file {path!r} cannot be read: {error}") from error
  # Of a damaged .npz file; RuntimeError if it seems to be encrypted.
  except (zipfile.BadZipFile, zlib.error, struct.error, RuntimeError, *BAD_HEADER) as error:
    raise WeightsError(f"weights file {path!r} cannot be read: {error}") from error


def _read_safetensors(path: str) -> dict[str, np.ndarray]:
  from safetensors import SafetensorError, safe_open

  try:
    # Flax's reader, unlike NumPy's, supports bfloat16.
    with safe_open(path, framework="flax") as file:
      return {key: _array(file.get_tensor(key)) for key in file.keys()}  # noqa: SIM118
  except SafetensorError as error:
    raise ValueError(str(error)) from error


def _read_npz(path: str) -> dict[str, np.ndarray]:
  if zipfile.is_zipfile(path):
    with zipfile.ZipFile(path) as archive:
      unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > (1 << 20) + MOST_UNPACKED * os.path.getsize(path):
      raise ValueError(f"its arrays would take {unpacked} bytes, much more than the file")
  content = np.load(path, allow_pickle=False)
  if not isinstance(content, np.lib.npyio.NpzFile):
    raise ValueError("it holds a single array, without a name")
  with content:
    return dict(content)


def _unwrapped(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  """Returns the tensors without the prefixes that all names have."""
  for prefix in PREFIXES * 2:
    if tensors and all(name.startswith(prefix) for name in tensors):
      tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
  return tensors


def _dequantized(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
  for name in [one.removesuffix(".q") for one in tensors if one.endswith(".q")]:
    parts = [f"{name}{part}" for part in QUANTIZED]
    if all(part in tensors for part in parts):
      q, scale, least = (tensors.pop(part) for part in parts)
      tensors[name] = (q * scale + least).astype(np.float32)
  return tensors


def _array(value: Any) -> np.ndarray:
  if hasattr(value, "detach"):  # a PyTorch tensor; NumPy has no bfloat16
    value = value.detach().cpu()
    value = value.float().numpy() if value.is_floating_point() else value.numpy()
  return np.asarray(value)
