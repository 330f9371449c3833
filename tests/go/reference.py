"""The rules and the planes once more: slow, plain Python over sets, to compare with."""

BLACK, WHITE = 1, 2


class Position:
  """Stones as {(row, column): color}; nothing is shared with `cnnlab.go`."""

  def __init__(self, side, stones=None, ages=None, ko=None):
    self.side = side
    self.stones = dict(stones or {})
    self.ages = dict(ages or {})
    self.ko = ko

  def near(self, point):
    row, column = point
    around = [(row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)]
    return [(r, c) for r, c in around if 0 <= r < self.side and 0 <= c < self.side]

  def chain(self, point):
    """Returns the stones of a chain, and its liberties."""
    chain, edge = {point}, {point}
    while edge:
      edge = {
        n for p in edge for n in self.near(p) if self.stones.get(n) == self.stones[point]
      } - chain
      chain |= edge
    return chain, {n for p in chain for n in self.near(p) if n not in self.stones}

  def after(self, point, color):
    """Returns (the position after a move, captured stones), or None if it is not legal."""
    if point in self.stones or point == self.ko:
      return None
    new = Position(self.side, self.stones, {p: age + 1 for p, age in self.ages.items()})
    new.stones[point] = color
    new.ages[point] = 1
    captured = set()
    for n in self.near(point):
      if new.stones.get(n) == 3 - color:
        chain, liberties = new.chain(n)
        if not liberties:
          captured |= chain
    for p in captured:
      del new.stones[p]
    chain, liberties = new.chain(point)
    if not liberties:
      return None
    if len(captured) == 1 and len(chain) == 1 and len(liberties) == 1:
      (new.ko,) = captured
    return new, captured

  def points(self):
    return [(row, column) for row in range(self.side) for column in range(self.side)]


def is_eye(position, point, color):
  if any(position.stones.get(n) != color for n in position.near(point)):
    return False
  row, column = point
  corners = [(row + i, column + j) for i in (-1, 1) for j in (-1, 1)]
  inside = [c for c in corners if c in set(position.points())]
  lost = sum(position.stones.get(c) == 3 - color for c in inside)
  return lost <= 1 if len(inside) == 4 else lost == 0


def replies(position, prey):
  """Returns the moves that may save a chain in atari."""
  color = position.stones[prey]
  chain, liberties = position.chain(prey)
  moves = set(liberties)
  for point in chain:
    for n in position.near(point):
      if position.stones.get(n) == 3 - color:
        theirs = position.chain(n)[1]
        if len(theirs) == 1:
          moves |= theirs
  return moves


def captures(position, move, prey):
  """Returns whether the attacker's move captures a chain of two liberties in a ladder."""
  color = position.stones[prey]
  played = position.after(move, 3 - color)
  if played is None or len(played[0].chain(prey)[1]) != 1:
    return False
  return not any(escapes(played[0], reply, prey) for reply in replies(played[0], prey))


def escapes(position, move, prey):
  """Returns whether the defender's move saves a chain in atari from a ladder."""
  color = position.stones[prey]
  played = position.after(move, color)
  if played is None:
    return False
  liberties = played[0].chain(prey)[1]
  if len(liberties) != 2:
    return len(liberties) > 2
  return not any(captures(played[0], attack, prey) for attack in liberties)


def planes(position, color):
  """Returns {plane: points} of a position with `color` to move, without empty planes."""
  found = {}

  def put(plane, point):
    found.setdefault(plane, set()).add(point)

  def number(first, value, point):
    if value:
      put(first + min(value, 8) - 1, point)

  for point in position.points():
    put(3, point)
    owner = position.stones.get(point)
    put({None: 2, color: 0, 3 - color: 1}[owner], point)
    if owner:
      number(4, position.ages[point], point)
      number(12, len(position.chain(point)[1]), point)
      continue
    played = position.after(point, color)
    if played is None:
      continue
    chain, liberties = played[0].chain(point)
    number(20, len(played[1]), point)
    number(28, len(chain) if len(liberties) == 1 else 0, point)
    number(36, len(liberties), point)
    if not is_eye(position, point, color):
      put(46, point)
  for prey, owner in position.stones.items():
    liberties = position.chain(prey)[1]
    if owner != color and len(liberties) == 2:
      for move in liberties:
        if captures(position, move, prey):
          put(44, move)
    if owner == color and len(liberties) == 1:
      for move in replies(position, prey):
        if escapes(position, move, prey):
          put(45, move)
  return found


def drawn(picture):
  """Returns the position of a picture: X black, O white, letters and dots empty; and named points."""
  rows = picture.split()
  stones, named = {}, {}
  for row, line in enumerate(rows):
    for column, sign in enumerate(line):
      if sign in "XO":
        stones[row, column] = BLACK if sign == "X" else WHITE
      elif sign != ".":
        named[sign] = (row, column)
  return Position(len(rows), stones, dict.fromkeys(stones, 100)), named
