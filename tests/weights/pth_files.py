"""Writes `.pth` files as PyTorch does, in both of its formats, without PyTorch; also harmful ones."""

from __future__ import annotations

import contextlib
import io
import pickle
import sys
import types
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

MAGIC = 0x1950A86A20F9469CFC6C
NAMES = {
  "float32": "Float",
  "float16": "Half",
  "float64": "Double",
  "int64": "Long",
  "uint8": "Byte",
}


def write_pth(
  path: Path, content: Mapping[str, object], legacy: bool = False, **wrong: object
) -> Path:
  """Writes a mapping of arrays (or of anything, which is pickled) as `torch.save` does.

  Args:
    path: the file.
    content: arrays become tensors.
    legacy: in the format of torchvision's older files, which is not a zip.
    **wrong: replaces a part of every tensor's description: `size`, `stride`, `offset`, `numel`.
  """
  with _torch() as torch:
    pickler = _Pickler(torch, wrong)
    data = pickler.dumps(OrderedDict(content))
  if legacy:
    parts = [pickle.dumps(part, 2) for part in (MAGIC, 1001, {"little_endian": True})]
    parts += [data, pickle.dumps(sorted(pickler.storages, key=int), 2)]
    for key in sorted(pickler.storages, key=int):
      array = pickler.storages[key]
      parts += [array.size.to_bytes(8, "little"), array.tobytes()]
    path.write_bytes(b"".join(parts))
  else:
    write_zip(path, data, {key: array.tobytes() for key, array in pickler.storages.items()})
  return path


def write_zip(
  path: Path,
  data: bytes,
  storages: Mapping[str, bytes] | None = None,
  compression: int = zipfile.ZIP_STORED,
) -> Path:
  """Writes a pickle and storages as the zip of `torch.save`."""
  with zipfile.ZipFile(path, "w", compression) as file:
    file.writestr("archive/data.pkl", data)
    file.writestr("archive/byteorder", "little")
    for key, content in (storages or {}).items():
      file.writestr(f"archive/data/{key}", content)
    file.writestr("archive/version", "3\n")
  return path


def calling(module: str, name: str, *arguments: object) -> bytes:
  """Returns a pickle that calls `module.name(*arguments)` when it is read without care."""
  head = b"\x80\x02" + f"c{module}\n{name}\n".encode()
  inner = pickle.dumps(tuple(arguments), 2)
  return head + inner[2:-1] + b"R."


class _Tensor:
  def __init__(self, array: np.ndarray):
    self.array = array


class _Storage:
  def __init__(self, kind: object, key: str, numel: int):
    self.kind, self.key, self.numel = kind, key, numel


class _Pickler:
  """Pickles tensors as calls of torch's function, and keeps their numbers aside."""

  def __init__(self, torch: types.ModuleType, wrong: Mapping[str, object]):
    self.torch, self.wrong = torch, wrong
    self.storages: dict[str, np.ndarray] = {}

  def dumps(self, content: object) -> bytes:
    file = io.BytesIO()
    outer = self

    class Pickler(pickle.Pickler):
      def persistent_id(self, value: object) -> object:
        if isinstance(value, _Storage):
          return ("storage", value.kind, value.key, "cpu", value.numel)
        return None

      def reducer_override(self, value: object) -> object:
        return outer.reduced(value) if isinstance(value, np.ndarray) else NotImplemented

    Pickler(file, 2).dump(content)
    return file.getvalue()

  def reduced(self, array: np.ndarray) -> tuple:
    key = str(len(self.storages))
    # `ascontiguousarray` makes a number an array of one axis.
    array = np.ascontiguousarray(array).reshape(array.shape)
    self.storages[key] = array
    kind = getattr(self.torch, f"{NAMES[array.dtype.name]}Storage")
    storage = _Storage(kind, key, self.wrong.get("numel", array.size))  # type: ignore[arg-type]
    stride = tuple(step // array.itemsize for step in array.strides)
    about = {"offset": 0, "size": array.shape, "stride": stride} | self.wrong
    arguments = (storage, about["offset"], about["size"], about["stride"], False, OrderedDict())
    return self.torch._utils._rebuild_tensor_v2, arguments


@contextlib.contextmanager
def _torch() -> Iterator[types.ModuleType]:
  """Yields a module of the name `torch` with what the pickles refer to; pickle looks it up."""
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

  def _rebuild_tensor_v2() -> None: ...

  _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
    "torch._utils",
    "_rebuild_tensor_v2",
  )
  utils._rebuild_tensor_v2 = _rebuild_tensor_v2
  torch._utils = utils
  for name in NAMES.values():
    setattr(torch, f"{name}Storage", type(f"{name}Storage", (), {"__module__": "torch"}))
  before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
  sys.modules |= {"torch": torch, "torch._utils": utils}
  try:
    yield torch
  finally:
    for name, module in before.items():
      if module is None:
        del sys.modules[name]
      else:
        sys.modules[name] = module
