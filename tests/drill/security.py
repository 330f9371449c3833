"""Hostile weights, options, names and terminals; launchers that cannot start; damaged runs in a sweep."""

from __future__ import annotations

import contextlib
import functools
import io
import itertools
import os
import pickle
import random
import re
import resource
import shlex
import shutil
import stat
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import numpy as np

from tests.drill.cases import Bad, Case, Result, command, files_below, judge
from tests.weights.pth_files import calling, write_pth, write_zip

MOST_MEMORY = 1 << 30  # bytes that reading a harmful file of a few kilobytes may take
SEED = 10
# What would run, or break a line, a path, a table or markup, if it were taken literally.
MARKER = "executed"  # a file that appears in the working directory if something is executed
HOSTILE = (
  f"$(touch {MARKER})",
  f"`touch {MARKER}`",
  f"; touch {MARKER} ;",
  f"a\ntouch {MARKER}\n#",
  f"a\rtouch {MARKER}",
  f"' ; touch {MARKER} ; '",
  f'" ; touch {MARKER} ; "',
  f"| touch {MARKER}",
  f"&& touch {MARKER}",
  "two words",
  "it's",
  'a "quote"',
  "back\\slash",
  "100%j %t %A",
  "*",
  "~",
  "#comment",
  "--help",
  "[bold red]markup[/]",
  "日本",
)
ESCAPE = "\x1b[31mred\x1b]0;title\x07\x9b2J\u202e"


def cases() -> list[Case]:
  """Returns this part's cases."""
  return [
    *_weights(),
    *_convert_arguments(),
    *_escapes(),
    *_slurm(),
    *(
      Case(f"injection: {launcher}", "names and paths of runs", _hostile_names, (launcher,), 180.0)
      for launcher in ("local", "ray")
    ),
    *_options(),
    *_roots(),
    *_damaged(),
  ]


# Weights


def _weights() -> list[Case]:
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
  _check_marker(directory)
  if grown > MOST_MEMORY:
    raise Bad("accepted", f"took {grown >> 20} MiB: {result.err}")
  _check_controls(result)
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
  import json

  from tests.drill.cases import PROJECT

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
  _check_controls(result)
  return judge(result, may_succeed=False)


def _convert_arguments() -> list[Case]:
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
  _check_controls(result)
  end = judge(result, may_succeed=False)
  if files_below(directory) != before:
    raise Bad("wrote", str(sorted(set(files_below(directory)) - set(before))))
  return end


@functools.cache
def _scratch() -> Path:
  return Path(tempfile.mkdtemp(prefix="drill-security-"))


def _shared_weights(directory: Path) -> Path:
  source = _scratch() / "w.safetensors"
  if not source.exists():
    _write(source, _tensors(), "safetensors")
  os.link(source, directory / "w.safetensors")
  return source


# Terminals

_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def _check_controls(result: Result) -> None:
  """Checks that the output holds nothing that a terminal obeys or cannot show."""
  for text in (result.out, result.err):
    if found := _CONTROLS.search(text):
      place = text[max(0, found.start() - 60) : found.end() + 60]
      raise Bad("unclear", f"{result.command} prints a control character: {place!r}")


def _check_marker(*directories: Path) -> None:
  for directory in (*directories, Path.cwd()):
    if (directory / MARKER).exists():
      (directory / MARKER).unlink()
      raise Bad("accepted", f"a command was executed in {directory}")


def _escapes() -> list[Case]:
  lines = {
    "verb": (ESCAPE,),
    "unknown argument": ("train", f"--{ESCAPE}"),
    "surplus argument": ("runs", "a", ESCAPE),
    "wrong number": ("sweep", "downsampling_digits", f"--workers={ESCAPE}"),
    "page": ("train", f"--config={ESCAPE}.py", "--workdir=x"),
    "form": ("train", f"--config=configs/digits.py:{ESCAPE}", "--workdir=x"),
    "key": ("train", "--config=configs/digits.py:tiny", "--workdir=x", f"--config.{ESCAPE}=1"),
    "value": (
      "train",
      "--config=configs/digits.py:tiny",
      "--workdir=x",
      f"--config.model.name={ESCAPE}",
    ),
    "text value": (
      "train",
      "--config=configs/digits.py:tiny",
      "--workdir=x",
      f"--config.data.name={ESCAPE}",
    ),
    "workdir of eval": ("eval", f"--workdir={ESCAPE}"),
    "workdir of predict": ("predict", f"--workdir={ESCAPE}", "a.png"),
    "folder of runs": ("runs", ESCAPE),
    "folder of report": ("report", ESCAPE),
    "model": ("describe", f"--model={ESCAPE}"),
    "pattern": ("models", ESCAPE),
    "bench": ("bench", f"--model={ESCAPE}"),
    "experiment": ("sweep", ESCAPE),
    "recipe": ("sweep", "downsampling_digits", f"--recipe={ESCAPE}"),
    "variant": ("sweep", "downsampling_digits", f"--only={ESCAPE}"),
    "launcher": ("sweep", "downsampling_digits", f"--on={ESCAPE}"),
    "option": ("sweep", "downsampling_digits", f"--option={ESCAPE}"),
    "option's value": (
      "sweep",
      "downsampling_digits",
      "--recipe=tiny",
      "--on=slurm",
      f"--option=time={ESCAPE}",
    ),
    "weights": ("convert", "--model=resnet18", f"--weights={ESCAPE}.pth", "--out=x"),
    "out": ("convert", "--model=resnet18", "--weights=/dev/null", f"--out=/dev/null/{ESCAPE}"),
  }
  found = [Case("terminal: arguments", name, _escape, (line,)) for name, line in lines.items()]
  run, images = (
    ("name of a run", "status", "reason", "config value", "config key"),
    "name of an image",
  )
  names = ("metric's name", "class names", "task's class names")
  places = {
    "runs": (*run, "metric's name"),
    "runs --csv": ("name of a run", "reason"),
    "report": (*run, "metric's name"),
    "sweep": ("name of a run", "status", "reason"),
    "predict": ("config value", *names, images),
    "eval": ("config key", "task's class names"),
  }
  return found + [
    Case("terminal: files", f"{place} in {verb}", _escape_in_files, (place, verb), 180.0)
    for verb in places
    for place in places[verb]
  ]


def _escape(directory: Path, line: tuple[str, ...]) -> str:
  result = command(*line)
  _check_controls(result)
  if result.code == 0:
    return "success"
  return judge(result, may_succeed=True)


def _escape_in_files(directory: Path, place: str, verb: str) -> str:
  import json

  sweep = _trained(directory)
  run = sweep / "max" / "seed0"
  image = directory / "x.png"
  shutil.copy(_image(), image)

  def edit(name: str, change: Callable[[dict], object]) -> None:
    content = json.loads((run / name).read_text())
    change(content)
    (run / name).write_text(json.dumps(content))

  if place == "name of a run":
    (sweep / "max").rename(sweep / f"max{ESCAPE}".replace("/", ""))
    run = sweep / f"max{ESCAPE}" / "seed0"
  elif place == "status":
    edit("status.json", lambda c: c.update(status=ESCAPE))
  elif place == "reason":
    edit("status.json", lambda c: c.update(status="failed", reason=ESCAPE, error=ESCAPE))
  elif place == "config value":
    edit("config.json", lambda c: c["model"].update(downsample=ESCAPE))
  elif place == "config key":
    edit("config.json", lambda c: c["model"].update({ESCAPE: 1}))
  elif place == "metric's name":
    edit("status.json", lambda c: c["metrics"].update({f"eval/{ESCAPE}": 1.0}))
    edit("config.json", lambda c: c["derived"].update(best_metric=[f"eval/{ESCAPE}", "min"]))
  elif place == "class names":
    edit("config.json", lambda c: c["derived"].update(class_names=[ESCAPE] * 10))
  elif place == "task's class names":
    edit("config.json", lambda c: _replace_names(c["derived"]))
  else:
    image = image.rename(directory / f"{ESCAPE}.png")
  line = {
    "runs": ("runs", str(directory)),
    "runs --csv": ("runs", "--csv", str(directory)),
    "report": ("report", str(sweep)),
    "predict": ("predict", f"--workdir={run}", str(image)),
    "eval": ("eval", f"--workdir={run}"),
    "sweep": (*_SWEEP, f"--root={directory}", "--dry_run"),
  }[verb]
  result = command(*line)
  _check_controls(result)
  if result.code in (0, 1) and not result.trace:  # a sweep with a refused run ends with 1
    return "success"
  return judge(result)


def _replace_names(value: object) -> None:
  """Replaces every text in lists of ten."""
  if isinstance(value, dict):
    for key, inner in value.items():
      if isinstance(inner, list) and len(inner) == 10:
        value[key] = [ESCAPE] * 10
      else:
        _replace_names(inner)


_SWEEP = (
  "sweep",
  "downsampling_digits",
  "--recipe=tiny",
  "--only=max",
  "--seeds=2",
  "--config.max_steps=2",
)


@functools.cache
def _base() -> Path:
  """Trains a sweep of two runs; returns its root."""
  root = _scratch() / "runs"
  result = command(*_SWEEP, f"--root={root}")
  if result.code:
    raise RuntimeError(result.trace or result.err or result.out)
  return root


def _trained(directory: Path) -> Path:
  shutil.copytree(_base() / "downsampling_digits", directory / "downsampling_digits")
  return directory / "downsampling_digits"


@functools.cache
def _image() -> Path:
  from PIL import Image

  path = _scratch() / "x.png"
  Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
  return path


# Launchers


def _slurm() -> list[Case]:
  places = ("partition", "account", "qos", "constraint", "root", "label", "setup", "cluster")
  return [
    Case("injection: slurm", f"{place}: {text!r}", _submitted, (place, text))
    for place, text in itertools.product(places, HOSTILE)
  ]


_SBATCH = f"""#!{sys.executable}
import os, pathlib, subprocess, sys
text = pathlib.Path(sys.argv[1]).read_text()
with open(os.environ["FAKE_SLURM"], "a") as file:
  file.write(text)
subprocess.run(["bash", "-c", text], cwd=os.path.dirname(os.environ["FAKE_SLURM"]))
print("Submitted batch job 77")
"""


@contextlib.contextmanager
def _fake_slurm(directory: Path) -> Iterator[Path]:
  """Puts stand-ins in front of PATH: sbatch keeps and runs the script, in which srun does nothing."""
  folder = directory / "bin"
  folder.mkdir()
  for name, text in {"sbatch": _SBATCH, "srun": "#!/bin/sh\n"}.items():
    (folder / name).write_text(text)
    (folder / name).chmod(0o755 | stat.S_IXUSR)
  script = directory / "script"
  changed = {"PATH": f"{folder}:{os.environ['PATH']}", "FAKE_SLURM": str(script)}
  with mock.patch.dict(os.environ, changed), contextlib.chdir(directory):
    yield script


def _submitted(directory: Path, place: str, text: str) -> str:
  """Submits a run with a hostile text; what sbatch gets must be that text, or it is refused."""
  from rich.console import Console

  from cnnlab.errors import CnnlabError
  from launch.slurm import run_sweep

  root = directory / (text.replace("/", "") if place == "root" else "runs")
  spec = _spec(root, text.replace("/", "") if place == "label" else "a")
  settings = {"wait": "no"} | ({place: text} if place not in ("root", "label") else {})
  if place == "setup":
    settings["setup"] = f": {shlex.quote(text)}"  # commands by design; these do nothing
  console = Console(file=io.StringIO())
  with _fake_slurm(directory) as script:
    try:
      run_sweep([spec], console=console, logs=root / "logs", settings=settings)
    except CnnlabError as error:
      _check_marker(directory)
      return judge(Result(2, "", f"error: {error}"))
    lines = script.read_text().splitlines()
  _check_marker(directory, root)
  try:
    given = dict(
      shlex.split(line.removeprefix("#SBATCH --"))[0].split("=", 1)
      for line in lines
      if line.startswith("#SBATCH --") and "=" in line
    )
  except ValueError as error:
    raise Bad("accepted", "\n".join(lines)) from error
  if place in given and given[place] != text:
    raise Bad("accepted", f"sbatch gets {given[place]!r}")
  if place == "root" and given["output"] != f"{root}/logs/slurm/%j_0_log.out":
    raise Bad("accepted", f"sbatch gets {given['output']!r}")
  if place == "cluster":
    raise Bad("accepted", console.file.getvalue())  # type: ignore[attr-defined]
  return "success"


def _spec(root: Path, label: str):
  from cnnlab.lab.plan import RunSpec

  return RunSpec(f"{label}/seed0", label, 0, str(root / label), "page.py", {"steps": 1})


def _hostile_names(directory: Path, launcher: str) -> str:
  """Runs all hostile names in one sweep of a launcher: each is trained in its own directory."""
  import importlib

  from cnnlab.terminal import SafeConsole
  from tests.drill.cases import PROJECT

  if importlib.util.find_spec("ray") is None and launcher == "ray":
    return "refused"
  root = directory / 'it\'s "the" root $(x) [red]'
  specs = [_spec(root, text) for text in (*HOSTILE, ESCAPE.replace("]0", ""))]
  out = io.StringIO()
  run_sweep = importlib.import_module(f"launch.{launcher}").run_sweep
  with contextlib.chdir(PROJECT):
    result = run_sweep(
      specs,
      "tests.launch.fakes:execute",
      console=SafeConsole(file=out, width=300),
      logs=root / "logs",
      workers=2,
    )
  _check_marker(directory, root, PROJECT)
  wrong = [o for o in result.outcomes.values() if o.status != "done"]
  missing = [s.label for s in specs if not (Path(s.directory) / "done.json").exists()]
  if wrong or missing or len(result.outcomes) != len(specs):
    raise Bad("lost", f"{wrong} {missing} {out.getvalue()}")
  plain = [spec.name for spec in specs if spec.name.isprintable()]
  if hidden := [name for name in plain if name not in out.getvalue()]:
    raise Bad("unclear", f"{hidden} are not shown: {out.getvalue()}")
  _check_controls(Result(0, out.getvalue(), "", command=(launcher,)))
  return "success"


def _options() -> list[Case]:
  given: dict[str, tuple[str, ...]] = {
    "--workers": ("0", "-1", "5000", "x", "1.5", "", "99999999999999999999"),
    "--seeds": ("0", "-1", "x", "1000000000", "1.5", "99999999999999999999"),
    "--together": ("0", "-1", "x", "99999999999999999999"),
    "--on": ("", "slrum", "launch.local", "../local"),
    "--only": ("", "nope", "[", "a" * 5000),
    "--recipe": ("nope", "../tiny"),
    "--option": ("", "=", "x", "=x", "together", "together=0", "together=x", "nope=1", "x=\0"),
  }
  found = [
    Case("sweep: options", f"{key}={value[:20]!r}", _option, ((f"{key}={value}",),))
    for key, values in given.items()
    for value in values
  ]
  zeros = {(key, "0") for key in ("gpus", "memory_gb", "requeues", "signal_delay", "wait")}
  zeros |= {("gpus", "-1")}
  numbers = ("nan", "inf", "-1", "0", "1e999", "99999999999999999999", "", "x", "1.5", "٣")
  for launcher, keys in {
    "slurm": ("time", "cpus", "gpus", "memory_gb", "requeues", "signal_delay", "wait"),
    "ray": ("cpus", "gpus"),
  }.items():
    found += [
      Case(f"options: {launcher}", f"{key}={value}", _launcher_option, (launcher, key, value))
      for key, value in itertools.product(keys, numbers)
      # Those are good.
      if (key, value) not in zeros
      and not (launcher == "ray" and value in ("1.5", "٣"))
      and not (launcher == "slurm" and value == "٣")
    ]
  found += [
    Case("options: ray", f"address={address!r}", _launcher_option, ("ray", "address", address))
    for address in ("nowhere", "ray://127.0.0.1:1", "a\nb", "\x1b[31m")
  ]
  found.append(Case("options: ray", "not installed", _without_ray))
  found.append(Case("options: slurm", "not installed", _without_slurm))
  return found


def _option(directory: Path, more: tuple[str, ...]) -> str:
  result = command(*_SWEEP[:3], f"--root={directory}/runs", "--config.max_steps=1", *more)
  _check_controls(result)
  end = judge(result, may_succeed=False)
  if (directory / "runs").exists():
    raise Bad("wrote", str(sorted((directory / "runs").rglob("*"))))
  return end


def _launcher_option(directory: Path, launcher: str, key: str, value: str) -> str:
  return _launched(directory, launcher, {key: value})


def _launched(directory: Path, launcher: str, settings: dict[str, str]) -> str:
  import importlib
  import traceback

  from rich.console import Console

  from cnnlab.errors import CnnlabError

  options = {"console": Console(file=io.StringIO()), "logs": directory / "runs" / "logs"}
  if launcher == "slurm":
    settings = {"wait": "no"} | settings
  slurm = _fake_slurm(directory) if "--" not in settings else contextlib.nullcontext()
  with slurm:
    try:
      run_sweep = importlib.import_module(f"launch.{launcher}").run_sweep
      run_sweep([_spec(directory / "runs", "a")], settings=settings, **options)
    except CnnlabError as error:
      (key,) = set(settings) - ({"wait"} if launcher == "slurm" and len(settings) > 1 else set())
      return judge(Result(2, "", f"error: {error}"), (key,) if key != "address" else ())
    except Exception as error:
      raise Bad("traceback", traceback.format_exc()[-2000:]) from error
  raise Bad("accepted", f"{settings}")


def _without_ray(directory: Path) -> str:
  with mock.patch.dict(sys.modules, {"ray": None}):
    return judge(_sweep_on(directory, "ray"), ("pip install 'cnnlab[ray]'",), may_succeed=False)


def _without_slurm(directory: Path) -> str:
  with mock.patch.dict(os.environ, {"PATH": "/nowhere"}):
    return judge(_sweep_on(directory, "slurm"), ("no SLURM on this machine",), may_succeed=False)


def _sweep_on(directory: Path, launcher: str) -> Result:
  return command(*_SWEEP, f"--root={directory}/runs", f"--on={launcher}")


def _roots() -> list[Case]:
  roots = {
    "a file": "file",
    "below a file": "file/x",
    "below a device": "/dev/null/x",
    "where nothing can be made": "/proc/x",
    "read-only": "/sys/x",
    "300 characters": "x" * 300,
    "5,000 characters": "x/" * 2500,
    "NUL": "a\0b",
    "a link to itself": "loop",
    "a link to nothing": "broken/x",
  }
  good = {
    "missing parents": "a/b/c",
    "spaces and quotes": 'it\'s "a" $(root)',
    "not UTF-8": "caf\udce9",
    "markup": "[red]x[/]",
    "a line break": "a\nb",
    "escape codes": "\x1b[31m",
    "empty": "",
  }
  return [
    *(Case("sweep: root", name, _root, (root, False), 240.0) for name, root in roots.items()),
    *(Case("sweep: root", name, _root, (root, True), 240.0) for name, root in good.items()),
  ]


def _root(directory: Path, root: str, may_succeed: bool) -> str:
  (directory / "file").write_text("mine")
  (directory / "loop").symlink_to("loop")
  (directory / "broken").symlink_to("nothing")
  from tests.drill.cases import PROJECT

  (directory / "experiments").symlink_to(PROJECT / "experiments")
  (directory / "configs").symlink_to(PROJECT / "configs")
  line = (*_SWEEP, f"--root={root}")
  line = (*line[:4], "--seeds=1", *line[5:])
  with contextlib.chdir(directory):
    result = command(*line)
  _check_controls(result)
  if (directory / "file").read_text() != "mine":
    raise Bad("lost", "the file was overwritten")
  return judge(result, may_succeed=may_succeed)


# Damaged runs

DAMAGES: dict[str, bytes | None] = {
  "[]": b"[]",
  "null": b"null",
  "a number": b"5",
  "text": b'"text"',
  "empty": b"",
  "cut": b'{"status": "do',
  "not UTF-8": b'{"status": "\xff\xfe"}',
  "nested": b'{"status": {"a": []}, "step": "x", "metrics": 5, "total_steps": []}',
  "100,000 deep": b"[" * 100_000,
  "a folder": None,
}


# Training takes seconds: where it is checked that the other run is trained.
_WITH_TRAINING = (("status.json", "[]"), ("config.json", "a folder"), ("", "[]"))


def _damaged() -> list[Case]:
  files = ("status.json", "config.json", "metrics.jsonl", "environment.json", "checkpoints", "")
  return [
    Case("sweep: damaged run", f"{file or 'run directory'} is {name}", _damage, (file, name), 240.0)
    for file in files
    for name in (DAMAGES if file in ("status.json", "config.json") else ("[]", "a folder"))
    if (file, name) != ("", "a folder")
  ]


def _damage(directory: Path, file: str, name: str) -> str:
  """Damages one finished run of two: the sweep passes it over, and trains the other if it is gone."""
  sweep = _trained(directory)
  run, other = sweep / "max" / "seed0", sweep / "max" / "seed1"
  if (file, name) in _WITH_TRAINING:
    shutil.rmtree(other)
  path = run / file if file else run
  shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
  content = DAMAGES[name]
  if content is None:
    path.mkdir()
    (path / "x").write_text("mine")
  else:
    path.write_bytes(content)
  before = files_below(run) if run.is_dir() else run.read_bytes()
  result = command(*_SWEEP, f"--root={directory}")
  _check_controls(result)
  if result.trace:
    raise Bad("traceback", result.trace[-3000:])
  if not (other / "status.json").exists() or '"done"' not in (other / "status.json").read_text():
    raise Bad("lost", f"the other run is not done: {result.err}{result.out}")
  if result.code not in (0, 1):
    raise Bad("unclear", f"exit code {result.code}: {result.err}{result.out}")
  if result.code == 1 and "damaged" not in result.out + result.err:
    raise Bad("unclear", result.out + result.err)
  after = files_below(run) if run.is_dir() else run.read_bytes()
  if result.code == 1 and after != before:
    raise Bad("wrote", f"the damaged run was changed: {result.out}{result.err}")
  return "success" if result.code == 0 else "refused"
