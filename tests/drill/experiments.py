"""Experiment files that a user might write, and options of a sweep, with mistakes in them."""

from __future__ import annotations

from pathlib import Path

from tests.drill.cases import Bad, Case, command, files_below, judge

# A file is the template with one field replaced by a text of Python.
TEMPLATE = """
from cnnlab.lab import Claim, Condition, Experiment, Published, Tuning
nan, inf = float("nan"), float("inf")

def claim(**changes):
  return Claim(**{"text": "c", "left": "b", "relation": "<", "right": "a", "source": "s"} | changes)

def get_experiment(recipe=""):
  fields = dict(
    name="mine", question="Does it?", config="configs/digits.py:tiny",
    variants={"a": {}, "b": {"model.downsample": "avg"}}, base="a", seeds=(0, 1), recipe=recipe,
  )
  return Experiment(**fields | dict(%s))
"""
FIELDS = (
  "name=''", "name='../up'", "name='a/b'", "name=3", "name=None", "name='x' * 300", "name='\\x1b[31m'",
  "question=3", "question=None",
  "config=''", "config=None", "config=3", "config='configs/missing.py'", "config='configs'",
  "config='/dev/null'", "config='configs/digits.py:huge'", "config='x' * 20000",
  "variants={}", "variants=None", "variants=[1]", "variants={3: {}}", "variants={'a': None}",
  "variants={'a': {}, 'x' * 300: {}}", "variants={'a': {}, '': {}}", "variants={'a': {}, '\\n': {}}",
  "variants={'a': {}, 'tuning/x': {}}", "variants={'a': {'model.downsmple': 'avg'}}",
  "variants={'a': {'model.downsample': 'agv'}}", "variants={'a': {'optim.momentum': nan}}",
  "variants={'a': {'optim.learning_rate': inf}}", "variants={'a': {'batch_size': -1}}",
  "variants={'a': {'batch_size': 'many'}}", "variants={'a': {'seed': 3}}", "variants={'a': {3: 4}}",
  "base='c'", "base=None", "base=3",
  "seeds=()", "seeds=(-1,)", "seeds=(0, 0)", "seeds=(0.5,)", "seeds=('a',)", "seeds=(10**30,)",
  "seeds=None", "seeds=3", "seeds=(True, False)",
  "metric='eval/eror'", "metric=''", "metric=None", "metric=3",
  "mode='minimum'", "mode='max'", "mode=3",
  "claims=(claim(margin=nan),)", "claims=(claim(margin=inf),)", "claims=(claim(margin='1'),)",
  "claims=(claim(relation='=<'),)", "claims=(claim(relation='=='),)", "claims=(claim(relation=3),)",
  "claims=(claim(left='c'),)", "claims=(claim(left='a'),)", "claims=(claim(metric='eval/eror'),)",
  "claims=(claim(metric='eval/error@'),)", "claims=(claim(metric='eval/error@step=x'),)",
  "claims=(claim(metric='train/los@area'),)", "claims=(claim(factor=0),)",
  "claims=(claim(factor=nan),)", "claims=(claim(equal='cost'),)", "claims=(claim(tolerance=-1),)",
  "claims=(3,)", "claims=3", "claims=claim()",
  "regime=(Condition('r', 'trainset/error', '<=', 0.1),)",
  "regime=(Condition('r', 'train/eror', '<=', 0.1),)",
  "regime=(Condition('r', 'train/error', '<', 0.1),)",
  "regime=(Condition('r', 'train/error', '<=', nan),)", "regime=3",
  "tuning=Tuning({})", "tuning=Tuning({'optim.learning_rate': ()})",
  "tuning=Tuning({'optim.learning_rte': (0.1,)})", "tuning=Tuning({'optim.learning_rate': (nan,)})",
  "tuning=Tuning({'optim.learning_rate': (0.1,)}, validation=2.0)",
  "tuning=Tuning({'optim.learning_rate': (0.1,)}, seeds=(-1,))",
  "tuning=Tuning({'model.downsample': ('max',)})", "tuning=3",
  "paper={'c': Published(0.1, 's')}", "paper={'a': Published(nan, 's')}", "paper={'a': 3}", "paper=3",
  "overrides={'epoch': 3}", "overrides={'epochs': nan}", "overrides=3", "overrides={'seed': 1}",
  "pairing='images'", "recipe=3", "unknown_field=3",
)  # fmt: skip
FILES = {
  "empty": b"",
  "not UTF-8": b"\xff\xfe\x00x",
  "syntax error": b"def get_experiment(:\n",
  "indentation": b"def f():\n\tx\n  y\n",
  "raises at import": b"raise RuntimeError('boom')\n",
  "raises when called": b"def get_experiment(recipe=''):\n  return {}['x']\n",
  "divides by zero": b"def get_experiment(recipe=''):\n  return 1 / 0\n",
  "exits": b"import sys\nsys.exit(3)\n",
  "missing module": b"import nothing_of_this_name\n",
  "recursion": b"def get_experiment(recipe=''):\n  return get_experiment()\n",
  "returns None": b"def get_experiment(recipe=''):\n  pass\n",
  "returns a class": b"from cnnlab.lab import Experiment as get_experiment\n",
  "no function": b"get_experiment = 3\n",
  "no argument": b"def get_experiment():\n  pass\n",
  "NUL": b"x = 1\x00\n",
}
OPTIONS = (
  ("--seeds", "0"), ("--seeds", "-1"), ("--seeds", "x"), ("--seeds", "5..1"), ("--seeds", "1e3"),
  ("--seeds", "99999999999"), ("--only", "nothing"), ("--only", ""),
  ("--config.nothing", "3"), ("--config.batch_size", "x"), ("--on", "moon"), ("--workers", "0"),
  ("--workers", "-3"), ("--together", "0"), ("--option", "x"), ("--option", "x=1"),
  ("--confirm",), ("--root", "/dev/null/x"), ("--root", "x" * 5000),
)  # fmt: skip


def cases() -> list[Case]:
  """Returns the cases of experiment files, of their fields, and of a sweep's options."""
  fields = [Case("experiment: a field", text, _field, (text,), timeout=120) for text in FIELDS]
  files = [Case("experiment: the file", name, _file, (text,)) for name, text in FILES.items()]
  paths = [
    Case("experiment: its path", repr(path[:60]), _path, (path,))
    for path in ("", "nothing", "/dev/null", "/dev/zero", ".", "x" * 5000, "a\0b", "\ud800", "~")
  ]
  options = [
    Case("experiment: an option", " ".join(option)[:60], _option, (option,), timeout=120)
    for option in OPTIONS
  ]
  return fields + files + paths + options


def _sweep(directory: Path, source: bytes, *options: str, may_succeed: bool = False) -> str:
  folder, root = directory / "mine", directory / "runs"
  folder.mkdir()
  (folder / "experiment.py").write_bytes(source)
  result = command("sweep", str(folder), f"--root={root}", "--dry_run", *options)
  if root.exists():
    raise Bad("wrote", str(sorted(files_below(root))))
  return judge(result, may_succeed=may_succeed)


def _field(directory: Path, text: str) -> str:
  return _sweep(directory, (TEMPLATE % text).encode())


def _file(directory: Path, source: bytes) -> str:
  return _sweep(directory, source)


def _path(directory: Path, path: str) -> str:
  return judge(command("sweep", path, f"--root={directory}/runs", "--dry_run"), may_succeed=False)


def _option(directory: Path, option: tuple[str, ...]) -> str:
  return _sweep(directory, (TEMPLATE % "").encode(), *option)
