"""Compiles the native library once for this machine, and finds what it needs."""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import importlib.metadata
import logging
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax

from cnnlab.cache_root import cache_folder, processor

log = logging.getLogger(__name__)

SOURCE = Path(__file__).parent
# oneDNN as packaged for pip: the library, and its headers.
WHEELS = ("onednn-cpu-gomp", "onednn-devel-cpu-gomp")
FLAGS = ("-std=c++17", "-O3", "-march=native", "-fopenmp-simd", "-fPIC", "-shared", "-w")
TIMEOUT_S = 300


class CannotBuild(Exception):
  """The library cannot be built here; the message says why."""


def build() -> Path:
  """Returns the path of the compiled library; compiles it if the cache does not have it.

  Raises:
    CannotBuild: no compiler, no oneDNN, or a compilation error.
  """
  if platform.system() != "Linux":
    raise CannotBuild(f"it is built on Linux only, and this is {platform.system()}")
  command = [*_compiler(), *FLAGS, *_includes(), *sorted(map(str, SOURCE.glob("*.cc")))]
  libraries = _libraries()
  path = _folder() / f"cnnlab-{_key([*command, *libraries])}.so"
  try:
    if not _is_sound(path):
      with _locked(path.with_suffix(".lock")):
        if not _is_sound(path):  # another process may have been faster
          _compile(command, libraries, path)
  except OSError as error:
    raise CannotBuild(f"{path.parent} cannot be written: {error}") from error
  return path


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
  """Holds a lock between processes, where the file system has locks."""
  import fcntl  # on Unix only

  with path.open("w") as file:
    with contextlib.suppress(OSError):
      fcntl.flock(file, fcntl.LOCK_EX)
    yield


def _compiler() -> list[str]:
  """Returns the C++ compiler's command: $CXX, or the first that is found."""
  given = os.environ.get("CXX", "")
  candidates = [shlex.split(given)] if given else [["c++"], ["g++"], ["clang++"]]
  for candidate in candidates:
    if shutil.which(candidate[0]):
      return candidate
  names = f"$CXX is {given}" if given else "none of c++, g++ and clang++ is installed"
  raise CannotBuild(f"there is no C++ compiler: {names}")


def _includes() -> list[str]:
  folders = [jax.ffi.include_dir()]
  header = _wheel_file(WHEELS[1], "oneapi/dnnl/dnnl.hpp")
  if header:
    folders.append(str(header.parents[2]))
  return [f"-I{folder}" for folder in folders]


def _libraries() -> list[str]:
  """Returns the linker's arguments: pip's oneDNN if it is installed, else the system's."""
  openmp = "-l:libgomp.so.1"
  library = _wheel_file(WHEELS[0], "libdnnl.so.3")
  if library is None:
    return ["-ldnnl", openmp]
  return [str(library), f"-Wl,-rpath,{library.parent}", openmp]


def _wheel_file(package: str, ending: str) -> Path | None:
  try:
    files = importlib.metadata.files(package) or []
  except importlib.metadata.PackageNotFoundError:
    return None
  found = [Path(str(file.locate())).resolve() for file in files if str(file).endswith(ending)]
  return next((file for file in found if file.exists()), None)


def _folder() -> Path:
  folder = cache_folder("native")
  if folder is not None and os.access(folder, os.W_OK):
    return folder
  # No cache, or one that cannot be written: compile anew in each process.
  folder = Path(tempfile.mkdtemp(prefix="cnnlab-native-"))
  atexit.register(shutil.rmtree, folder, ignore_errors=True)
  return folder


def _is_sound(path: Path) -> bool:
  """Returns whether the library is as it was compiled: loading a damaged one ends the process."""
  try:
    return _digest_file(path).read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
  except (OSError, ValueError):
    return False


def _digest_file(path: Path) -> Path:
  return path.with_suffix(".sha256")


def _key(command: list[str]) -> str:
  """Returns a hash of all that the library depends on."""
  digest = hashlib.sha256(processor().encode())
  for argument in command:
    digest.update(argument.encode() + b"\0")
  for path in sorted([*SOURCE.glob("*.cc"), *SOURCE.glob("*.h")]):
    digest.update(path.read_bytes())
  digest.update(importlib.metadata.version("jaxlib").encode())
  return digest.hexdigest()[:16]


def _compile(command: list[str], libraries: list[str], path: Path) -> None:
  log.info("compiling the native library for this machine: once, in some seconds")
  # Without locks, several processes may do so: each writes its own file, and the last one stays.
  with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".so", delete=False) as file:
    temporary = Path(file.name)
  try:
    done = subprocess.run(
      [*command, "-o", str(temporary), *libraries],
      capture_output=True,
      text=True,
      timeout=TIMEOUT_S,
      check=False,
    )
    if done.returncode:
      raise CannotBuild(f"{command[0]} failed: {_first_error(done.stderr)}")
    digest = hashlib.sha256(temporary.read_bytes()).hexdigest()
    temporary.replace(path)
    _digest_file(path).write_text(digest)
  except (OSError, subprocess.TimeoutExpired) as error:
    raise CannotBuild(f"{command[0]} failed: {error}") from error
  finally:
    temporary.unlink(missing_ok=True)


def _first_error(output: str) -> str:
  lines = [line for line in output.splitlines() if "error" in line or "cannot find" in line]
  return (lines or output.splitlines() or ["no output"])[0]
