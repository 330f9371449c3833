"""The front door: what `cnnlab` offers by name, and that naming it costs nothing before it is used."""

import subprocess
import sys

import cnnlab


def test_dir_shows_the_public_names_and_only_those():
  assert dir(cnnlab) == sorted(cnnlab.__all__)
  for name in cnnlab.__all__:
    assert getattr(cnnlab, name) is not None
  assert not [name for name in dir(cnnlab) if name.startswith("_") and name != "__version__"]


def test_importing_it_starts_nothing():
  code = "import sys, cnnlab; dir(cnnlab); print([m for m in ('jax', 'numpy', 'rich') if m in sys.modules])"
  out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
  assert out.stdout.strip() == "[]"
