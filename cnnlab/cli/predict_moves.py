"""Predict the moves of a game of Go, for `cnnlab predict game.sgf --move=57`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  import numpy as np

  from cnnlab.runs.trained import Trained


def predict_moves(
  trained: Trained, path: str, numbers: list[int], top: int, as_json: bool, folder: str | None
) -> None:
  """Prints the most probable moves before moves of a game, and draws the boards if asked.

  Args:
    trained: a policy network.
    path: an SGF file, whose first game is read.
    numbers: of the moves, from 1; none for the position after the last move.
    top: how many moves to show.
    as_json: print one JSON object for each position.
    folder: where to write `<file>_<number>.png`; None draws nothing.

  Raises:
    DataError: the game is broken or has no such move.
    ConfigError: a picture exists.
  """
  import jax
  from rich.table import Table

  from cnnlab.errors import ConfigError
  from cnnlab.terminal import SafeConsole
  from cnnlab.train.pictures import save_picture

  table = Table("move", "played", *(f"{rank + 1}." for rank in range(top)))
  forward = jax.jit(trained.outputs)
  for number, planes, known in _positions(path, numbers):
    found = {n: a[0] for n, a in jax.device_get(forward(trained.variables, planes[None])).items()}
    prediction = found | known
    played = ""
    if "played" in known:
      from cnnlab.go.board import name_of

      played = name_of(int(known["played"]), len(planes))
    if as_json:
      told = trained.task.to_json(prediction)
      print(json.dumps({"image": path, "move": number, "played": played, **told}))
    table.add_row(str(number), played, *trained.task.describe(prediction, top))
    if folder is not None:
      file = Path(folder) / f"{Path(path).stem}_{number}.png"
      if file.exists():
        raise ConfigError(f"--draw: {file} exists; name another directory")
      file.parent.mkdir(parents=True, exist_ok=True)
      picture = trained.task.draw(planes, prediction)
      assert picture is not None
      save_picture(picture, file)
  if not as_json:
    SafeConsole().print(table)


def _positions(
  path: str, numbers: list[int]
) -> Iterator[tuple[int, np.ndarray, dict[str, np.ndarray]]]:
  """Yields the number of a move, the planes before it, and whose it is and where, if it is known."""
  import numpy as np

  from cnnlab.errors import DataError
  from cnnlab.go.games import PASS, Broken, read_games

  game = next(read_games(Path(path)), None)
  if game is None or isinstance(game, Broken):
    raise DataError(f"cannot read the game {game or f'{path}: it is empty'}")
  last = len(game.moves) - game.setup
  for number in numbers or [last + 1]:
    if not 1 <= number <= last + 1:
      raise DataError(
        f"--move is {number}; {path} has the moves 1 to {last}, and {last + 1} is next"
      )
    at = game.setup + number - 1
    board = game.replay(at)
    if number <= last:
      color = int(game.colors[at])
    else:
      color = 3 - int(game.colors[-1]) if len(game.colors) else 1
    known = {"color": np.asarray(color)}
    if number <= last and game.moves[at] != PASS:
      known["played"] = np.asarray(game.moves[at])
    yield number, board.planes(color), known
