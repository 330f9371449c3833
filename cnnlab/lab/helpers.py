"""Processes that examine and measure for this one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from cnnlab.signals import held_back

T = TypeVar("T")


def in_helpers(
  function: Callable[..., T],
  tasks: Iterable[tuple[Any, ...]],
  count: int,
  initializer: Callable[[], None],
) -> list[T]:
  """Returns what a function returns for each task, computed in other processes.

  They take no notice of Ctrl-C. An interruption of this process, and an error, end them at once.

  Args:
    function: of a module, since it is sent to them by name.
    tasks: its arguments.
    count: of the processes.
    initializer: called in each before its first task.
  """
  before = set(multiprocessing.active_children())
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(count, context, initializer=initializer) as pool:
    try:
      with held_back():
        futures = [pool.submit(function, *task) for task in tasks]
      return [future.result() for future in futures]
    except BaseException:
      for process in set(multiprocessing.active_children()) - before:
        process.kill()
      raise
