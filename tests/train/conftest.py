"""Tiny runs, in this process and in others."""

import pathlib
import subprocess
import sys

import pytest

from cnnlab.config import apply_overrides, load_page


def tiny(**overrides):
  """A config of seconds: a small net on digits; dots in keys are written as two underscores."""
  return apply_overrides(
    load_page("configs/digits.py:tiny"), {k.replace("__", "."): v for k, v in overrides.items()}
  )


def start(workdir: pathlib.Path, *arguments: str) -> subprocess.Popen:
  """Starts `cnnlab train` on the tiny page in a process of its own."""
  command = [sys.executable, "-m", "cnnlab", "train", "--config=configs/digits.py:tiny"]
  return subprocess.Popen(
    [*command, f"--workdir={workdir}", *arguments],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
  )


@pytest.fixture
def workdir(tmp_path):
  return tmp_path / "run"
