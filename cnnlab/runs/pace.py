"""What a run is doing, the seconds that each kind of work has taken, and the time that is left."""

from __future__ import annotations

import contextlib
import enum
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Work(enum.StrEnum):
  """The kinds of work of a run, in words."""

  START = "starting"
  LOAD = "loading the data"
  INITIALIZE = "initializing"
  COMPILE = "compiling the training step"
  TRAIN = "training"
  EVALUATE = "evaluating"
  EVALUATE_TRAINSET = "evaluating the training set"
  SAVE = "saving"
  FINISH = "finishing"


# A training step costs about three forward passes: the gradients cost two more.
TRAINING_FACTOR = 3


class Ahead(NamedTuple):
  """The work of a run.

  Attributes:
    total_steps: training steps.
    eval_every: steps between two evaluations; 0 for one at the end.
    batch_size: images of a step.
    eval_images: of an evaluation.
    last_images: evaluated at the end besides.
  """

  total_steps: int
  eval_every: int
  batch_size: int
  eval_images: int
  last_images: int = 0

  def evaluations_after(self, step: int) -> int:
    """Returns how many evaluations follow after this many steps."""
    every = self.eval_every or self.total_steps
    past, all_of_them = step // every, -(-self.total_steps // every)
    return max(0, all_of_them - past) if step < self.total_steps else 0


class Pace:
  """The clock of one session of a run: each second counts for the kind of work under way then.

  Other threads may read it at any time.

  Args:
    changed: called where one kind of work ends or is broken off by another: with the one, its
      seconds, and the other.

  Attributes:
    doing: the work under way.
    since: when it began, by `time.monotonic`.
    part, parts: how much of the work under way is done, where it is counted; else 0.
    spent: {work: seconds} of what has ended.
    step, total: finished steps and those of the whole run; 0 until they are known.
  """

  def __init__(self, changed: Callable[[Work, float, Work], None] | None = None):
    self._changed = changed or (lambda ended, seconds, begun: None)
    self.doing, self.since = Work.START, time.monotonic()
    self.part = self.parts = 0
    self.spent: dict[Work, float] = {}
    self.step = self.total = self._first = 0
    self._ahead: Ahead | None = None
    self._trained = 0
    self._evaluations: list[float] = []
    self._due: float | None = None  # when the run will end

  @contextlib.contextmanager
  def during(self, work: Work) -> Iterator[None]:
    """Counts the block's seconds for a kind of work."""
    outer = self.doing
    self.turn_to(work)
    try:
      yield
    finally:
      self.turn_to(outer)

  def turn_to(self, work: Work) -> None:
    """Counts the seconds from now on for a kind of work."""
    now = time.monotonic()
    ended, seconds = self.doing, now - self.since
    self.spent[ended] = self.spent.get(ended, 0.0) + seconds
    if ended == Work.EVALUATE:
      self._evaluations.append(seconds)
    self.doing, self.since, self.part, self.parts = work, now, 0, 0
    self._changed(ended, seconds, work)

  def count(self, part: int, parts: int) -> None:
    """Tells how much of the work under way is done."""
    self.part, self.parts = part, parts

  def begin(self, step: int, ahead: Ahead) -> None:
    """Tells at which step the session begins, and what is ahead of the run."""
    self._ahead, self.total = ahead, ahead.total_steps
    self.step = self._first = step

  def trained(self, count: int) -> None:
    """Counts finished steps."""
    self.step += count
    self._trained += count
    self._due = time.monotonic() + self._estimate()

  def left(self) -> float | None:
    """Returns the seconds until the run ends, evaluations included; None before the first step."""
    return None if self._due is None else max(0.0, self._due - time.monotonic())

  def all_spent(self) -> dict[Work, float]:
    """Returns {work: seconds} so far, the work under way included."""
    return self.spent | {self.doing: self._seconds_of(self.doing)}

  def rate(self) -> float:
    """Returns the steps in a second of training."""
    return self._trained / max(self._seconds_of(Work.TRAIN), 1e-9)

  def _estimate(self) -> float:
    assert self._ahead is not None, "begin() comes first"
    ahead = self._ahead
    # Saves are as many in the rest of the steps as in those so far.
    step = (self._seconds_of(Work.TRAIN) + self._seconds_of(Work.SAVE)) / self._trained
    per_image = step / TRAINING_FACTOR / ahead.batch_size
    evaluation = ahead.eval_images * per_image
    if len(self._evaluations) > 1:
      evaluation = sum(self._evaluations[1:]) / (len(self._evaluations) - 1)
    elif self._evaluations:  # it was compiled, too
      evaluation = min(evaluation, self._evaluations[0])
    last = evaluation * ahead.last_images / ahead.eval_images
    evaluations = ahead.evaluations_after(self._first) - len(self._evaluations)
    return (self.total - self.step) * step + evaluations * evaluation + last

  def _seconds_of(self, work: Work) -> float:
    current = time.monotonic() - self.since if self.doing == work else 0.0
    return self.spent.get(work, 0.0) + current
