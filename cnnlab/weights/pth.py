"""Reads the tensors of PyTorch's `.pth` files without PyTorch, and without running their code.

A `.pth` file holds a pickle, which may call any function. Here a pickle can build containers,
numbers, text and tensors; whatever else it names or does is refused, and nothing larger than the
file is allocated. Both formats are read: a zip with `data.pkl` and a file for each storage, and
the older one, in which the storages follow the pickle.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import stat
import struct
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO, ClassVar, NamedTuple

import ml_dtypes
import numpy as np

from cnnlab.errors import shown

_MAGIC = 0x1950A86A20F9469CFC6C  # the first pickle of the older format
_MOST_PICKLE = 64 << 20  # bytes; that of a network of thousands of tensors takes a few hundred kB
# Where training scripts keep the model's weights in a checkpoint.
WRAPPERS = ("state_dict", "model_state_dict", "model", "net")
_MOST_TENSORS, _MOST_AXES = 100_000, 32
_DTYPES = {
  "Double": np.dtype("<f8"),
  "Float": np.dtype("<f4"),
  "Half": np.dtype("<f2"),
  "BFloat16": np.dtype(ml_dtypes.bfloat16),
  "Long": np.dtype("<i8"),
  "Int": np.dtype("<i4"),
  "Short": np.dtype("<i2"),
  "Char": np.dtype("i1"),
  "Byte": np.dtype("u1"),
  "Bool": np.dtype("?"),
}


class PthError(Exception):
  """A `.pth` file that is damaged, or that holds more than tensors in containers."""


def read_pth(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
  """Returns {name: array} of a `.pth` file that holds a model's weights.

  Of a training script's checkpoint, which holds them next to the optimizer's state, they are what
  lies at the first of `WRAPPERS` that it has. The arrays are read-only views.

  Raises:
    PthError: the file is damaged, or holds anything that weights do not need.
    OSError: it cannot be opened.
  """
  if not stat.S_ISREG(os.stat(path).st_mode):
    raise PthError("it is no plain file")
  try:
    with open(path, "rb") as file:
      if zipfile.is_zipfile(file):
        return _arrays(_read_zip(file))
      file.seek(0)
      return _arrays(_read_older(file, os.path.getsize(path)))
  except PthError:
    raise
  except (KeyError, IndexError, AttributeError, TypeError, ValueError, OverflowError) as error:
    raise PthError(f"it is damaged ({type(error).__name__}: {error})") from error
  except (EOFError, RecursionError, MemoryError, NotImplementedError) as error:
    raise PthError(f"it is damaged ({type(error).__name__})") from error
  except (pickle.UnpicklingError, zipfile.BadZipFile, struct.error, AssertionError) as error:
    raise PthError(f"it is damaged ({error})") from error


def _read_zip(file: BinaryIO) -> object:
  with zipfile.ZipFile(file) as archive:
    members = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in members if name.endswith("data.pkl")]
    if len(pickles) != 1:
      raise PthError(f"it holds {len(pickles)} files data.pkl, not one")
    folder = pickles[0].removesuffix("data.pkl")

    def content(name: str, most: int) -> bytes:
      entry = members[f"{folder}{name}"]
      # PyTorch compresses nothing, so that sizes cannot exceed the file's.
      if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > most:
        raise PthError(f"its part {name!r} is compressed, or larger than {most} bytes")
      return archive.read(entry)

    if f"{folder}byteorder" in members and content("byteorder", 16) != b"little":
      raise PthError("its numbers are big-endian, which is not supported")
    storages: dict[str, _Storage] = {}

    def storage(dtype: np.dtype, key: str, numel: int) -> _Storage:
      if key not in storages:
        data = content(f"data/{key}", numel * dtype.itemsize)
        storages[key] = _Storage(dtype, numel, data)
      return storages[key].checked(dtype, numel)

    return _Reader(io.BytesIO(content("data.pkl", _MOST_PICKLE)), storage).load()


def _read_older(file: BinaryIO, size: int) -> object:
  """Reads the format that is not a zip: four pickles, the keys, and each storage's size and bytes."""
  storages: dict[str, _Storage] = {}

  def storage(dtype: np.dtype, key: str, numel: int) -> _Storage:
    if numel * dtype.itemsize > size:
      raise PthError(f"storage {key!r} is larger than the file")
    return storages.setdefault(key, _Storage(dtype, numel)).checked(dtype, numel)

  head = [_Reader(file, storage).load() for _ in range(3)]
  if head[0] != _MAGIC or not isinstance(head[2], dict) or not head[2].get("little_endian", True):
    raise PthError("it is not a file of PyTorch's, or big-endian")
  content = _Reader(file, storage).load()
  for key in _Reader(file, storage).load():
    (numel,) = struct.unpack("<q", file.read(8))
    found = storages[key].checked(storages[key].dtype, numel)
    found.data = file.read(numel * found.dtype.itemsize)
  return content


class _Storage:
  """The numbers that tensors are views of."""

  def __init__(self, dtype: np.dtype, numel: int, data: bytes = b""):
    self.dtype, self.numel, self.data = dtype, numel, data

  def checked(self, dtype: np.dtype, numel: int) -> _Storage:
    """Returns itself, if all that is said of it agrees."""
    if (dtype, numel) != (self.dtype, self.numel):
      raise PthError("two tensors describe the same storage differently")
    return self


class _Tensor(NamedTuple):
  """A tensor's place in its storage, in numbers; the storage may be read later."""

  storage: _Storage
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]

  def array(self) -> np.ndarray:
    """Returns the numbers, without a copy: a small file may hold many tensors of one storage."""
    storage = self.storage
    if len(storage.data) != storage.numel * storage.dtype.itemsize:
      raise PthError("a storage is cut")
    numbers = np.frombuffer(storage.data, storage.dtype)
    steps = tuple(step * storage.dtype.itemsize for step in self.strides)
    return np.lib.stride_tricks.as_strided(
      numbers[self.offset :], self.shape, steps, writeable=False
    )


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: object) -> _Tensor:
  """Takes the place of the function that rebuilds a tensor.

  Raises:
    PthError: it would reach beyond its storage, or the description is none.
  """
  if not (
    isinstance(storage, _Storage) and isinstance(shape, tuple) and isinstance(strides, tuple)
  ):
    raise PthError("it describes a tensor wrongly")
  sizes = (offset, *shape, *strides)
  if len(shape) != len(strides) or len(shape) > _MOST_AXES:
    raise PthError("it describes a tensor wrongly")
  if not all(type(size) is int and size >= 0 for size in sizes):
    raise PthError("it describes a tensor wrongly")
  count = math.prod(shape)
  last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
  if count > storage.numel or (count and last >= storage.numel):
    raise PthError("a tensor is larger than its storage")
  return _Tensor(storage, offset, shape, strides)


class _Kind(NamedTuple):
  """A class of storages."""

  dtype: np.dtype


def _ordered_dict(items: object = ()) -> dict:
  return dict(items) if isinstance(items, list) and len(items) <= _MOST_TENSORS else {}


# What stands for the functions and classes that pickles of weights name.
_GLOBALS: dict[tuple[str, str], Callable[..., object]] = {
  ("collections", "OrderedDict"): _ordered_dict,
  ("torch._utils", "_rebuild_tensor_v2"): _tensor,
  ("torch._utils", "_rebuild_tensor"): _tensor,
  ("torch._utils", "_rebuild_parameter"): lambda tensor, *_: tensor,
}
_CODES = (
  pickle.PROTO + pickle.STOP + pickle.MARK + pickle.NONE + pickle.NEWTRUE + pickle.NEWFALSE
  + pickle.BININT + pickle.BININT1 + pickle.BININT2 + pickle.LONG1 + pickle.BINFLOAT
  + pickle.BINUNICODE + pickle.BINSTRING + pickle.SHORT_BINSTRING
  + pickle.BINPUT + pickle.LONG_BINPUT + pickle.BINGET + pickle.LONG_BINGET
  + pickle.EMPTY_DICT + pickle.EMPTY_LIST + pickle.EMPTY_TUPLE
  + pickle.TUPLE + pickle.TUPLE1 + pickle.TUPLE2 + pickle.TUPLE3
  + pickle.APPEND + pickle.APPENDS + pickle.SETITEM + pickle.SETITEMS
  + pickle.GLOBAL + pickle.REDUCE + pickle.BUILD + pickle.BINPERSID
)  # fmt: skip


class _Reader(pickle._Unpickler):  # type: ignore[name-defined, misc]
  """Python's own reader of pickles, reduced to the codes and names that weights need.

  The one in Python, since the faster one in C allocates as much as a pickle asks for.
  """

  def __init__(self, file: BinaryIO, storage: Callable[[np.dtype, str, int], _Storage]):
    super().__init__(file, encoding="utf-8")
    self._storage = storage

  def find_class(self, module: str, name: str) -> object:
    """Returns what stands for a global."""
    kind = name.removesuffix("Storage")
    if module in ("torch", "torch.cuda") and name.endswith("Storage") and kind in _DTYPES:
      return _Kind(_DTYPES[kind])
    if (module, name) not in _GLOBALS:
      raise PthError(
        f"it names {module}.{name}, which weights do not need and which could run code; "
        "if you trust the file, save its tensors as .safetensors"
      )
    return _GLOBALS[module, name]

  def persistent_load(self, identity: object) -> _Storage:
    """Returns the storage that a tensor names: ('storage', class, key, device, numbers, ...)."""
    if isinstance(identity, tuple) and len(identity) >= 5 and identity[0] == "storage":
      _, kind, key, _, numel = identity[:5]
      if isinstance(kind, _Kind) and isinstance(key, str) and type(numel) is int and numel >= 0:
        return self._storage(kind.dtype, key, numel)
    raise PthError("it describes a storage wrongly")

  def _ignore_state(self) -> None:
    # That of an OrderedDict holds the versions of the model's layers.
    self.stack.pop()  # type: ignore[attr-defined]

  def _refuse(self) -> None:
    raise PthError("its pickle does more than build weights")

  dispatch: ClassVar[dict[int, Any]] = dict(pickle._Unpickler.dispatch)  # type: ignore[attr-defined]
  dispatch |= dict.fromkeys(set(range(256)) - set(_CODES), _refuse)
  dispatch[pickle.BUILD[0]] = _ignore_state


def _arrays(content: object) -> dict[str, np.ndarray]:
  """Returns the arrays of a file's content."""
  while isinstance(content, dict):
    inner = [content[key] for key in WRAPPERS if isinstance(content.get(key), dict)]
    if not inner:
      break
    content = inner[0]
  if not isinstance(content, dict):
    raise PthError(f"it holds a {type(content).__name__}, not named tensors")
  wrong = [key for key, value in content.items() if not isinstance(value, _Tensor)]
  if wrong or not all(isinstance(key, str) for key in content):
    raise PthError(
      f"its entry {shown(wrong[0] if wrong else next(iter(content)))} is no named tensor"
    )
  return {key: tensor.array() for key, tensor in content.items()}
