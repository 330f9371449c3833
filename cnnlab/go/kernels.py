"""The rules of Go and the planes of a position, compiled by Numba: arrays in, arrays out.

A board is int8 [(side + 2)²], row by row with a border, so that the neighbors of a point are at fixed
distances. `Board` and `Games` are the way to use what is here. All of it is one file, since Numba's cache of a function does not notice changes in other files.
"""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import numpy as np

from cnnlab.errors import ConfigError

try:
  from numba import njit
except ImportError as error:
  raise ConfigError(
    "Go needs Numba and sgfmill; install them with: pip install 'cnnlab[go]'"
  ) from error
Array: TypeAlias = np.ndarray

EMPTY, BLACK, WHITE, BORDER = 0, 1, 2, 3

# First plane of each group; Silver et al. (doi:10.1038/nature16961), extended data table 2.
STONES, ONES, TURNS, LIBERTIES, CAPTURE, SELF_ATARI, AFTER = 0, 3, 4, 12, 20, 28, 36
LADDER_CAPTURE, LADDER_ESCAPE, SENSIBLE, ZEROS, PLANES = 44, 45, 46, 47, 48

LONG_AGO = 10_000  # moves: more than a game has
LOST, SAVED, OPEN = 0, 1, 2
LADDER_DEPTH = 128  # moves; across the whole board a ladder takes about 70
LADDER_NODES = 1000  # moves that are looked at before it is undecided


class Work(NamedTuple):
  """Memory that is used again and again.

  Attributes:
    width: of the board with its border.
    clock: [1], the newest mark.
    marks: [points], which points the newest search has seen.
    members: [points], the stones of the chain that was searched last.
    liberties: [points], its liberties.
  """

  width: int
  clock: Array
  marks: Array
  members: Array
  liberties: Array


class Ladders(NamedTuple):
  """Memory of a search for ladders.

  Attributes:
    boards: [depth, points], the position after each move of the line that is looked at.
    kos: [depth], the point that ko then forbids.
    answers: [depth, points], what may be played then.
    counts, tried: [depth], how many answers there are, and how many were looked at.
    nodes: [1], moves that may still be looked at.
    other: of searches for the chains around a chain.
  """

  boards: Array
  kos: Array
  answers: Array
  counts: Array
  tried: Array
  nodes: Array
  other: Work


@njit(cache=True, nogil=True)
def make_work(width: int) -> Work:
  """Returns the memory for boards of a width."""
  marks, members = np.zeros(width * width, np.int64), np.zeros(width * width, np.int64)
  return Work(width, np.zeros(1, np.int64), marks, members, np.zeros(width * width, np.int64))


@njit(cache=True, nogil=True)
def make_ladders(width: int) -> Ladders:
  """Returns the memory of a search for ladders on boards of a width."""
  points = width * width
  return Ladders(
    np.zeros((LADDER_DEPTH, points), np.int8),
    np.zeros(LADDER_DEPTH, np.int64),
    np.zeros((LADDER_DEPTH, points), np.int64),
    np.zeros(LADDER_DEPTH, np.int64),
    np.zeros(LADDER_DEPTH, np.int64),
    np.zeros(1, np.int64),
    make_work(width),
  )


@njit(cache=True, nogil=True)
def empty_board(side: int) -> Array:
  """Returns an empty board with its border."""
  board = np.full((side + 2, side + 2), BORDER, np.int8)
  board[1:-1, 1:-1] = EMPTY
  return board.ravel()


@njit(cache=True, nogil=True)
def chain(board: Array, start: int, work: Work) -> tuple[int, int]:
  """Searches the chain of the stone at `start`; returns its (stones, liberties) as numbers."""
  work.clock[0] += 1
  mark = work.clock[0]
  color = board[start]
  work.members[0] = start
  work.marks[start] = mark
  size, liberties, done = 1, 0, 0
  while done < size:
    point = work.members[done]
    done += 1
    for near in (point - 1, point + 1, point - work.width, point + work.width):
      if work.marks[near] == mark:
        continue
      if board[near] == EMPTY:
        work.marks[near] = mark
        work.liberties[liberties] = near
        liberties += 1
      elif board[near] == color:
        work.marks[near] = mark
        work.members[size] = near
        size += 1
  return size, liberties


@njit(cache=True, nogil=True)
def play(board: Array, point: int, color: int, work: Work) -> tuple[int, int]:
  """Plays a legal move; returns (captured stones, the point that ko forbids or 0)."""
  board[point] = color
  captured, last = 0, 0
  for near in (point - 1, point + 1, point - work.width, point + work.width):
    if board[near] == 3 - color:
      size, liberties = chain(board, near, work)
      if liberties == 0:
        for i in range(size):
          board[work.members[i]] = EMPTY
        captured += size
        last = near
  if captured == 1 and chain(board, point, work) == (1, 1):
    return captured, last
  return captured, 0


@njit(cache=True, nogil=True)
def is_legal(board: Array, point: int, color: int, ko: int, work: Work) -> bool:
  """Returns whether a move is allowed: on an empty point, no suicide, no ko."""
  if board[point] != EMPTY or point == ko:
    return False
  for near in (point - 1, point + 1, point - work.width, point + work.width):
    if board[near] == EMPTY:
      return True
    if board[near] != BORDER:
      liberties = chain(board, near, work)[1]
      if (liberties > 1) == (board[near] == color):
        return True
  return False


@njit(cache=True, nogil=True)
def is_eye(board: Array, point: int, color: int, width: int) -> bool:
  """Returns whether an empty point is an eye: surrounded, and its corners not the opponent's.

  In the interior the opponent may hold one of the four corners, at the edge none.
  """
  for near in (point - 1, point + 1, point - width, point + width):
    if board[near] != color and board[near] != BORDER:
      return False
  lost, edge = 0, 0
  for corner in (point - width - 1, point - width + 1, point + width - 1, point + width + 1):
    lost += board[corner] == 3 - color
    edge += board[corner] == BORDER
  return lost < (1 if edge else 2)


@njit(cache=True, nogil=True)
def saving_moves(board: Array, prey: int, moves: Array, work: Work, other: Work) -> int:
  """Lists what may save a chain in atari: its last liberty, and captures of the chains around it."""
  size = chain(board, prey, work)[0]
  moves[0] = work.liberties[0]
  count, begun = 1, other.clock[0]
  for i in range(size):
    point = work.members[i]
    for near in (point - 1, point + 1, point - work.width, point + work.width):
      if board[near] != 3 - board[prey] or other.marks[near] > begun:
        continue
      if chain(board, near, other)[1] == 1:
        moves[count] = other.liberties[0]
        count += 1
  return count


@njit(cache=True, nogil=True)
def ladder_move(
  board: Array, ko: int, move: int, color: int, prey: int, depth: int, work: Work, ladders: Ladders
) -> int:
  """Returns LOST or SAVED if a move decides a ladder, else OPEN with the answers to it."""
  defends = board[prey] == color
  if ladders.nodes[0] == 0 or depth == LADDER_DEPTH:
    return SAVED
  ladders.nodes[0] -= 1
  if not is_legal(board, move, color, ko, work):
    return LOST if defends else SAVED
  after = ladders.boards[depth]
  after[:] = board
  ladders.kos[depth] = play(after, move, color, work)[1]
  liberties = chain(after, prey, work)[1]
  ladders.tried[depth] = 0
  if not defends:
    if liberties > 1:
      return SAVED
    ladders.counts[depth] = saving_moves(after, prey, ladders.answers[depth], work, ladders.other)
    return OPEN
  if liberties != 2:
    return LOST if liberties < 2 else SAVED
  ladders.answers[depth, :2] = work.liberties[:2]
  ladders.counts[depth] = 2
  return OPEN


@njit(cache=True, nogil=True)
def is_lost(
  board: Array, ko: int, move: int, color: int, prey: int, work: Work, ladders: Ladders
) -> bool:
  """Returns whether the chain at `prey` is lost in a ladder once `color` plays `move`.

  The attacker must put it in atari with every move; the defender extends or captures. It has
  escaped with three liberties, and is lost with one. What `LADDER_DEPTH` and `LADDER_NODES` do not
  suffice for is not lost.
  """
  attacks = board[prey] != color
  ladders.nodes[0] = LADDER_NODES
  depth = 0
  result = ladder_move(board, ko, move, color, prey, depth, work, ladders)
  # Depth first. Numba's cache cannot hold functions that call themselves.
  while True:
    if result == OPEN:
      depth += 1
    else:
      # A move that is good for its player decides for the position before it, as does the last one.
      while depth > 0:
        good = (attacks == (depth % 2 == 0)) == (result == LOST)
        if not good and ladders.tried[depth - 1] < ladders.counts[depth - 1]:
          break
        depth -= 1
      if depth == 0:
        return result == LOST
    before = depth - 1
    answer = ladders.answers[before, ladders.tried[before]]
    ladders.tried[before] += 1
    mover = color if depth % 2 == 0 else 3 - color
    result = ladder_move(
      ladders.boards[before], ladders.kos[before], answer, mover, prey, depth, work, ladders
    )


@njit(cache=True, nogil=True)
def put(out: Array, point: int, width: int, plane: int) -> None:
  """Sets the bit of a plane at a point."""
  out[point // width - 1, point % width - 1, plane >> 3] |= np.uint8(1 << (plane & 7))


@njit(cache=True, nogil=True)
def put_number(out: Array, point: int, width: int, plane: int, number: int) -> None:
  """Sets the bit of a number from 1 on, with one plane for each and the eighth for all above."""
  if number > 0:
    put(out, point, width, plane + min(number, 8) - 1)


@njit(cache=True, nogil=True)
def encode(
  board: Array,
  born: Array,
  turn: int,
  color: int,
  ko: int,
  out: Array,
  work: Work,
  ladders: Ladders,
) -> None:
  """Writes the planes of a position.

  Args:
    board: of the position.
    born: [points], the number of the move that put the stone there.
    turn: number of the move that is to be played.
    color: whose move it is.
    ko: the point that it forbids, or 0.
    out: uint8 [side, side, PLANES / 8], zeros; plane p is bit p % 8 of byte p // 8.
    work, ladders: memory.
  """
  width = work.width
  chains = ladders.other
  after = np.empty_like(board)
  done = np.zeros(len(board), np.bool_)
  for point in range(len(board)):
    if board[point] == BORDER:
      continue
    put(out, point, width, ONES)
    if board[point] != EMPTY:
      put(out, point, width, STONES if board[point] == color else STONES + 1)
      put_number(out, point, width, TURNS, turn - born[point])
      if not done[point]:
        size, liberties = chain(board, point, chains)
        for i in range(size):
          done[chains.members[i]] = True
          put_number(out, chains.members[i], width, LIBERTIES, liberties)
        encode_ladders(board, point, liberties, color, ko, out, work, ladders)
      continue
    put(out, point, width, STONES + 2)
    if not is_legal(board, point, color, ko, work):
      continue
    after[:] = board
    put_number(out, point, width, CAPTURE, play(after, point, color, work)[0])
    size, liberties = chain(after, point, work)
    put_number(out, point, width, AFTER, liberties)
    if liberties == 1:
      put_number(out, point, width, SELF_ATARI, size)
    if not is_eye(board, point, color, width):
      put(out, point, width, SENSIBLE)


@njit(cache=True, nogil=True)
def encode_ladders(
  board: Array,
  prey: int,
  liberties: int,
  color: int,
  ko: int,
  out: Array,
  work: Work,
  ladders: Ladders,
) -> None:
  """Writes the moves that capture an opponent's chain in a ladder, or save an own one from it."""
  moves = np.empty(len(board), np.int64)
  if board[prey] != color and liberties == 2:
    chain(board, prey, work)
    moves[0], moves[1] = work.liberties[0], work.liberties[1]
    for i in range(2):
      if is_lost(board, ko, moves[i], color, prey, work, ladders):
        put(out, moves[i], work.width, LADDER_CAPTURE)
  elif board[prey] == color and liberties == 1:
    for i in range(saving_moves(board, prey, moves, work, ladders.other)):
      if not is_lost(board, ko, moves[i], color, prey, work, ladders):
        put(out, moves[i], work.width, LADDER_ESCAPE)


@njit(cache=True, nogil=True)
def to_point(move: int, side: int) -> int:
  """Returns the place on a board with its border of a move, row * side + column."""
  return (move // side + 1) * (side + 2) + move % side + 1


@njit(cache=True, nogil=True)
def encode_positions(games: tuple[Array, ...], wanted: Array, side: int, out: Array) -> None:
  """Writes the planes of positions, replaying each game once.

  Args:
    games: (moves [n], colors [n], starts [games + 1], setups [games]), see `cnnlab.go.games.Games`.
    wanted: numbers of moves, ascending; the positions are those before them.
    side: of the board.
    out: uint8 [len(wanted), side, side, PLANES / 8], zeros.
  """
  moves, colors, starts, setups = games  # + 0 makes an int64 of an element: one form is compiled
  work, ladders = make_work(side + 2), make_ladders(side + 2)
  board, born = empty_board(side), np.zeros((side + 2) * (side + 2), np.int64)
  game, at, ko = -1, 0, 0
  for row in range(len(wanted)):
    if game < 0 or wanted[row] >= starts[game + 1]:
      game = np.searchsorted(starts, wanted[row], side="right") - 1
      at, ko = starts[game], 0
      board = empty_board(side)
    while at < wanted[row]:
      ko = 0
      if moves[at] < side * side:
        point = to_point(moves[at] + 0, side)
        ko = play(board, point, colors[at] + 0, work)[1]
        # How long ago a stone was placed that stood there before the game is not known.
        born[point] = at if at >= starts[game] + setups[game] else -LONG_AGO
      at += 1
    encode(board, born, at, colors[at] + 0, ko, out[row], work, ladders)


@njit(cache=True, nogil=True)
def first_illegal(moves: Array, colors: Array, side: int) -> int:
  """Returns the index of a game's first move that is not allowed, or -1."""
  work, board, ko = make_work(side + 2), empty_board(side), 0
  for at in range(len(moves)):
    forbidden, ko = ko, 0
    if moves[at] < side * side:
      point, color = to_point(moves[at] + 0, side), colors[at] + 0
      if not is_legal(board, point, color, forbidden, work):
        return at
      ko = play(board, point, color, work)[1]
  return -1
