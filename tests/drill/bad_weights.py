"""Weights that mean harm or are damaged, and arguments of `cnnlab convert`."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import pickle
import random
import resource
import shlex
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.drill.cases import (
  PROJECT,
  Bad,
  Case,
  Result,
  command,
  files_below,
  judge,
  kept_directory,
)
from tests.drill.hostile import (
  MARKER,
  SEED,
  check_controls,
  check_marker,
)
from tests.weights.pth_files import calling, write_pth, write_zip

MOST_MEMORY = 1 << 30  # bytes that reading a harmful file of a few kilobytes may take


def weights() -> list[Case]:
  """Returns the cases."""
  names = [*HARMFUL, *HARMFUL_FILES]
  found = [
    Case("weights: harmful", f"{name} in {form}", _harmful, (name, form))
    for name in names
    for form in (("zip", "legacy") if name in HARMFUL else ("file",))
  ]
  draw = random.Random(SEED)
  for form, how in itertools.product(("zip", "legacy", "safetensors"), ("cut", "flipped")):
    places = [draw.random() ** 3 for _ in range(12)]  # more often in the head, where the format is
    found += [
      Case(f"weights: {how}", f"{form} at {place:.4f}", _broken, (form, how, place))
      for place in places
    ]
  return [
    *found,
    *(Case("weights: good", form, _good, (form,)) for form in ("zip", "legacy", "safetensors")),
  ]


# Pickles: by name, a function from the marker's path to the pickle's bytes.
HARMFUL: dict[str, Callable[[str], bytes]] = {
  "os.system": lambda marker: calling("os", "system", f"touch {shlex.quote(marker)}"),
  "posix.system": lambda marker: calling("posix", "system", f"touch {shlex.quote(marker)}"),
  "builtins.eval": lambda marker: calling("builtins", "eval", f"open({marker!r}, 'w')"),
  "__builtin__.eval": lambda marker: calling("__builtin__", "eval", f"open({marker!r}, 'w')"),
  "builtins.exec": lambda marker: calling("builtins", "exec", f"open({marker!r}, 'w')"),
  "builtins.open": lambda marker: calling("builtins", "open", marker, "w"),
  "builtins.getattr": lambda marker: calling("builtins", "getattr", marker, "upper"),
  "io.open": lambda marker: calling("io", "open", marker, "w"),
  "subprocess.Popen": lambda marker: calling("subprocess", "Popen", ["touch", marker]),
  "runpy.run_path": lambda marker: calling("runpy", "run_path", marker),
  "pathlib.Path.touch": lambda marker: calling("pathlib", "Path", marker),
  "pickle.loads": lambda marker: calling(
    "pickle", "loads", calling("builtins", "open", marker, "w")
  ),
  "torch.load": lambda marker: calling("torch", "load", marker),
  "torch.hub": lambda marker: calling("torch.hub", "load_state_dict_from_url", "file:///x"),
  "cnnlab itself": lambda marker: calling("cnnlab.runs.directory", "write_text", marker, "x"),
  "numpy.load": lambda marker: calling("numpy", "load", marker),
  "dotted name": lambda marker: (
    b"\x80\x04\x8c\x0ctorch._utils\x8c\x1f_rebuild_tensor_v2.__globals__\x93."
  ),
  "OrderedDict's globals": lambda marker: (
    b"\x80\x04\x8c\x0bcollections\x8c\x20OrderedDict.__repr__.__globals__\x93."
  ),
  "extension": lambda marker: b"\x80\x02\x82\x01.",
  "instance": lambda marker: b"(S'touch x'\nios\nsystem\n.",
  "state of a class": lambda marker: b"ccollections\nOrderedDict\n}S'x'\nI1\nsb.",
  "state of a function": lambda marker: b"ctorch._utils\n_rebuild_tensor_v2\n}S'__code__'\nI1\nsb.",
  "wrong arguments": lambda marker: calling("torch._utils", "_rebuild_tensor_v2", 1, 2),
  "memo of gigabytes": lambda marker: b"\x80\x02Nr\xff\xff\xff\x7f.",
  "bytes of terabytes": lambda marker: b"\x80\x04\x8e" + struct.pack("<Q", 1 << 42) + b"x.",
  "text of gigabytes": lambda marker: b"\x80\x02X" + struct.pack("<I", 0xFFFFFFF0) + b"x.",
  "integer of gigabytes": lambda marker: b"\x80\x02\x8b" + struct.pack("<i", 0x7FFFFFF0) + b"x.",
  "frame of terabytes": lambda marker: b"\x80\x04\x95" + struct.pack("<Q", 1 << 42) + b"N.",
  "nested a million times": lambda marker: b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
  "empty stack": lambda marker: b"\x80\x020.",
  "no mapping": lambda marker: pickle.dumps([1, 2], 2),
  "no tensors": lambda marker: pickle.dumps({"a": "b"}, 2),
  "keys that are no text": lambda marker: pickle.dumps({1: 2}, 2),
  "persistent number": lambda marker: b"\x80\x02K\x01Q.",
  "persistent text": lambda marker: b"Pstorage\n.",
  "protocol 200": lambda marker: b"\x80\xc8N.",
  "empty": lambda marker: b"",
  "text": lambda marker: b"hello, world\n" * 100,
}


def _tensor(path: Path, **wrong: object) -> Path:
  return write_pth(path, {"conv1.weight": np.ones((4, 3), np.float32)}, **wrong)


def _bomb(path: Path) -> Path:
  zeros = {str(key): bytes(1 << 28) for key in range(1)}
  return write_zip(path, pickle.dumps({}, 2), zeros, zipfile.ZIP_DEFLATED)


def _big_pickle(path: Path) -> Path:
  return write_zip(path, b"\x80\x02" + b"N0" * (1 << 28) + b"N.", None, zipfile.ZIP_DEFLATED)


def _named(path: Path, *members: str) -> Path:
  with zipfile.ZipFile(path, "w") as file:
    for member in members:
      file.writestr(member, pickle.dumps({}, 2))
  return path


def _safetensors(path: Path, header: bytes, length: int | None = None, data: bytes = b"") -> Path:
  size = len(header) if length is None else length
  path.write_bytes(struct.pack("<Q", size) + header + data)
  return path


def _fifo(path: Path) -> Path:
  os.mkfifo(path)
  return path


def _link(path: Path, target: str) -> Path:
  path.symlink_to(target)
  return path


def _folder(path: Path) -> Path:
  path.mkdir()
  return path


# Whole files: by name, the file's name and a function that writes it.
HARMFUL_FILES: dict[str, tuple[str, Callable[[Path], Path]]] = {
  "shape beyond its storage": ("w.pth", lambda p: _tensor(p, size=(1 << 20, 1 << 20))),
  "shape beyond 64 bits": ("w.pth", lambda p: _tensor(p, size=(1 << 62, 1 << 62))),
  "negative shape": ("w.pth", lambda p: _tensor(p, size=(-4, 3))),
  "shape of text": ("w.pth", lambda p: _tensor(p, size=("a", "b"))),
  "a thousand axes": ("w.pth", lambda p: _tensor(p, size=(1,) * 1000, stride=(1,) * 1000)),
  "stride beyond its storage": ("w.pth", lambda p: _tensor(p, stride=(1 << 40, 1))),
  "stride zero, a terabyte": (
    "w.pth",
    lambda p: _tensor(p, size=(1 << 20, 1 << 20), stride=(0, 0)),
  ),
  "negative stride": ("w.pth", lambda p: _tensor(p, stride=(-3, -1))),
  "offset beyond its storage": ("w.pth", lambda p: _tensor(p, offset=1 << 40)),
  "negative offset": ("w.pth", lambda p: _tensor(p, offset=-8)),
  "storage larger than its file": ("w.pth", lambda p: _tensor(p, numel=1 << 50)),
  "zip bomb of storages": ("w.pth", _bomb),
  "zip bomb of the pickle": ("w.pth", _big_pickle),
  "zip without a pickle": ("w.pth", lambda p: _named(p, "archive/version")),
  "zip with two pickles": ("w.pth", lambda p: _named(p, "a/data.pkl", "b/data.pkl")),
  "zip that climbs": ("w.pth", lambda p: _named(p, "../../data.pkl", "/etc/data.pkl")),
  "safetensors: endless head": ("w.safetensors", lambda p: _safetensors(p, b"{}", (1 << 63) - 1)),
  "safetensors: no JSON": ("w.safetensors", lambda p: _safetensors(p, b"hello")),
  "safetensors: huge shape": (
    "w.safetensors",
    lambda p: _safetensors(
      p, b'{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4]}}', data=b"1234"
    ),
  ),
  "safetensors: names that a terminal obeys": (
    "w.safetensors",
    lambda p: _safetensors(
      p,
      b'{"\\u001b[31mred":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
      data=b"1234",
    ),
  ),
  "safetensors: empty": ("w.safetensors", lambda p: _safetensors(p, b"", 0)),
  "folder": ("w.pth", _folder),
  "pipe": ("w.pth", _fifo),
  "endless device": ("w.pth", lambda p: _link(p, "/dev/zero")),
  "endless device as safetensors": ("w.safetensors", lambda p: _link(p, "/dev/zero")),
  "missing": ("w.pth", lambda p: p),
  "link to itself": ("w.pth", lambda p: _link(p, p.name)),
  "another suffix": ("w.exe", lambda p: _tensor(p)),
  "a name that a terminal obeys": ("\x1b[31m.pth", lambda p: p),
}


def _harmful(directory: Path, name: str, form: str) -> str:
  marker = directory / MARKER
  if name in HARMFUL:
    path, data = directory / "w.pth", HARMFUL[name](str(marker))
    if form == "zip":
      write_zip(path, data)
    else:
      write_pth(path, {}, legacy=True)
      head = b"".join(
        pickle.dumps(p, 2) for p in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
      )
      path.write_bytes(head + data)
  else:
    file, write = HARMFUL_FILES[name]
    path = write(directory / file)
  return _converted(directory, path)


def _converted(directory: Path, weights: Path, may_succeed: bool = False) -> str:
  """Converts weights that are no model's; checks that nothing is executed, written or allocated."""
  before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
  result = _convert(weights, directory / "out")
  grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
  check_marker(directory)
  if grown > MOST_MEMORY:
    raise Bad("accepted", f"took {grown >> 20} MiB: {result.err}")
  check_controls(result)
  end = judge(result, (weights.suffix[1:],) if "do not fit" not in result.err else (), may_succeed)
  if end == "refused" and (directory / "out").exists():
    raise Bad("wrote", str(sorted((directory / "out").iterdir())))
  return end


def _convert(weights: Path, out: Path, *more: str) -> Result:
  line = ("convert", "--model=resnet18", f"--weights={weights}", f"--out={out}")
  with contextlib.chdir(weights.parent):
    return command(*line, *more)


@functools.cache
def _tensors() -> dict[str, np.ndarray]:
  """Returns tensors of the names and shapes of torchvision's ResNet-18."""
  fixture = json.loads((PROJECT / "tests/fixtures/parity/resnet18.json").read_text())
  return {name: np.full(shape, 0.1, np.float32) for name, shape in fixture["state_dict"]}


def _write(path: Path, tensors: dict[str, np.ndarray], form: str) -> Path:
  if form == "safetensors":
    from safetensors.numpy import save_file

    save_file(tensors, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")
  return write_pth(path.with_suffix(".pth"), tensors, legacy=form == "legacy")


def _good(directory: Path, form: str) -> str:
  result = _convert(_write(directory / "w", _tensors(), form), directory / "out")
  if judge(result) != "success":
    raise Bad("lost", f"good weights are refused: {result.err}")
  return "success"


def _broken(directory: Path, form: str, how: str, place: float) -> str:
  """A small file, cut or with a flipped bit: it may not fit the model, which is an error as well."""
  path = _write(directory / "w", {"conv1.weight": np.ones((64, 3, 7, 7), np.float32)}, form)
  data = bytearray(path.read_bytes())
  at = int(place * len(data))
  if how == "cut":
    del data[at:]
  else:
    data[at] ^= 1 << random.Random(at).randrange(8)
  path.write_bytes(data)
  # A flipped bit may leave a good file, of which the error names the tensors.
  result = _convert(path, directory / "out")
  check_controls(result)
  return judge(result, may_succeed=False)


def convert_arguments() -> list[Case]:
  """Returns the cases."""
  given = {
    "--num_classes": ("0", "-1", "1000000000000", "x", "1e3", ""),
    "--image_size": ("0", "-1", "1", "1000000000", "x"),
    "--resize": ("0", "-1", "10", "1000000000", "x"),
    "--model": ("resnet19", "", "\x1b[31m", "../x", "x" * 5000),
    "--out": ("", "\0", "w.safetensors", "w.safetensors/x", "/proc/x", "x" * 300, "/dev/null/x"),
    "--weights": ("", "\0", "x" * 5000 + ".pth", ".", "\udcff.pth"),
  }
  return [
    Case("convert: arguments", f"{key}={value[:20]!r}", _convert_argument, (key, value))
    for key, values in given.items()
    for value in values
  ]


def _convert_argument(directory: Path, key: str, value: str) -> str:
  path = _shared_weights(directory)
  before = files_below(directory)
  arguments = {"--model": "resnet18", "--weights": "w.safetensors", "--out": "out"} | {key: value}
  with contextlib.chdir(directory):
    result = command("convert", *(f"{k}={v}" for k, v in arguments.items()))
  del path
  check_controls(result)
  end = judge(result, may_succeed=False)
  if files_below(directory) != before:
    raise Bad("wrote", str(sorted(set(files_below(directory)) - set(before))))
  return end


def _shared_weights(directory: Path) -> Path:
  source = kept_directory("security") / "w.safetensors"
  if not source.exists():
    _write(source, _tensors(), "safetensors")
  os.link(source, directory / "w.safetensors")
  return source
