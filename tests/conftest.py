"""Fixtures that every test shares."""

import gc
import os
import pathlib

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent

# Two workers share two cores; JAX is told before it is first imported.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Tests wait for the compiler, hardly ever for what it made. Processes that they start inherit this.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# Compiled programs and decoded images of tests stay with the checkout, out of the user's cache.
os.environ.setdefault("CNNLAB_CACHE", str(PROJECT / ".pytest_cache" / "cnnlab"))
# Traces hold many objects and almost no cycles: a quarter of the time of tracing a deep net would
# be spent collecting garbage.
gc.set_threshold(100_000, 50, 100)


@pytest.fixture(scope="session", autouse=True)
def compile_cache() -> None:
  """Programs are compiled once, whichever test asks first; the same tests start at once next time.

  Training turns this cache on as well, but only from its first call on.
  """
  from cnnlab.train.compile_cache import enable_compile_cache

  enable_compile_cache()


@pytest.fixture(scope="session")
def project() -> pathlib.Path:
  """The repository's root."""
  return PROJECT


@pytest.fixture(scope="session")
def shared() -> pathlib.Path:
  """The folder of data sets and fixtures beside the repository; tests that need it skip without it."""
  folder = pathlib.Path(os.environ.get("CNNLAB_SHARED", PROJECT.parent / "shared"))
  if not folder.is_dir():
    pytest.skip(f"needs the shared data and fixtures at {folder} (or $CNNLAB_SHARED)")
  return folder


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory) -> pathlib.Path:
  """A finished run of two epochs on digits, each evaluated and saved; not to be changed."""
  from cnnlab.config import apply_overrides, load_page
  from cnnlab.train import train

  workdir = tmp_path_factory.mktemp("digits") / "run"
  keys = {"max_steps": 44, "eval_every_epochs": 1.0, "checkpoint_every_epochs": 1.0}
  keys |= {"model.features": (8, 8), "optim.name": "adam", "optim.learning_rate": 0.003}
  train(apply_overrides(load_page("configs/digits.py:tiny"), keys), workdir)
  return workdir


def keep_compiled(cache: pathlib.Path) -> None:
  """Makes an empty cache use the compiled programs and the native library of this one."""
  from cnnlab.cache_root import cache_folder

  for compiled in ("native", "xla"):
    known = cache_folder(compiled)
    if known is not None:
      (cache / compiled).symlink_to(known)
