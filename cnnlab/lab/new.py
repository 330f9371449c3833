"""A commented experiment to start from."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path

from cnnlab.errors import ConfigError

TEMPLATE = "new_experiment.py.txt"


def write_new(directory: str | os.PathLike[str]) -> Path:
  """Writes `experiment.py`, which sweeps as it is, to a folder, and returns its path.

  Raises:
    ConfigError: the folder holds one already, or cannot be written to.
  """
  folder = Path(directory)
  file = folder / "experiment.py"
  name = re.sub(r"[^A-Za-z0-9_]+", "_", folder.absolute().name).strip("_") or "experiment"
  text = (files("cnnlab.lab") / TEMPLATE).read_text(encoding="utf-8")
  try:
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("x", encoding="utf-8") as opened:
      opened.write(text.replace('"NAME"', f'"{name}"').replace("PATH_OF_THIS_FOLDER", str(folder)))
  except FileExistsError as error:
    raise ConfigError(f"{file} exists already; choose another folder") from error
  except OSError as error:
    raise ConfigError(f"cannot write {file}: {error.strerror}") from error
  return file
