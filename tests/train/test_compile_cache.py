from types import SimpleNamespace

import pytest

from cnnlab.train.compile_cache import CheckedFiles


@pytest.fixture
def files(tmp_path):
  """What JAX's cache in files does."""

  def get(key):
    path = tmp_path / f"{key}-cache"
    return path.read_bytes() if path.exists() else None

  def put(key, value):
    path = tmp_path / f"{key}-cache"
    if not path.exists():
      path.write_bytes(value)

  return SimpleNamespace(get=get, put=put, _path=tmp_path)


def damage(path, how):
  data = path.read_bytes()
  flipped = data[:40] + bytes([data[40] ^ 1]) + data[41:]
  path.write_bytes({"cut": data[:-1], "empty": b"", "flipped": flipped}[how])


@pytest.mark.parametrize("how", ["cut", "empty", "flipped", "swapped"])
def test_damaged_and_swapped_entries_are_made_again(files, tmp_path, how, caplog):
  checked = CheckedFiles(files)
  checked.put("a", b"program of a")
  checked.put("b", b"program of b")
  if how == "swapped":
    (tmp_path / "a-cache").write_bytes((tmp_path / "b-cache").read_bytes())
  else:
    damage(tmp_path / "a-cache", how)
  assert checked.get("a") is None
  assert checked.get("b") == b"program of b"
  checked.put("a", b"program of a")
  assert checked.get("a") == b"program of a"
  assert len(caplog.records) == 1


def test_a_cache_that_cannot_be_used_costs_one_warning(files, caplog):
  def fail(*_):
    raise OSError(28, "No space left on device")

  files.get = files.put = fail
  checked = CheckedFiles(files)
  for _ in range(3):
    assert checked.get("a") is None
    checked.put("a", b"x")
  assert len(caplog.records) == 1


def test_jax_reads_through_it(tmp_path):
  import jax
  from jax._src import compilation_cache

  directory = jax.config.values["jax_compilation_cache_dir"]  # set by the first fixture
  assert directory.endswith("checked")
  made, _ = compilation_cache.get_file_cache(directory)
  assert isinstance(made, CheckedFiles)
