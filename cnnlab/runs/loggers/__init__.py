"""Where the numbers of a run go besides its directory: TensorBoard, Weights & Biases, MLflow, your own.

A logger is a class with three methods; its name goes to the config key `loggers`:

  class Printer:
    def start(self, config, directory, step): ...
    def log(self, step, metrics): print(step, metrics)
    def finish(self, status): ...

  cnnlab.register_logger("printer", Printer)
"""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

from cnnlab.errors import ConfigError, unknown
from cnnlab.register import register
from cnnlab.runs.orbax_errors import reason
from cnnlab.types import JsonMapping

log = logging.getLogger(__name__)


class Logger(Protocol):
  """Takes the rows of one run. Whatever it raises is told of once, and ends it, never the run."""

  def start(self, config: JsonMapping, directory: Path, step: int) -> None:
    """Begins, or goes on with the run that it began in an earlier session.

    Args:
      config: the resolved config, with what was derived from it.
      directory: the run's, where the logger may keep files of its own.
      step: finished steps. Rows after it follow, also those that an earlier session has logged.
    """

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics `train/...`, `eval/...` after a step."""

  def finish(self, status: str) -> None:
    """Ends the session: the run is `done`, `interrupted`, `diverged` or `failed`."""


def _of(module: str, name: str) -> Callable[[], Logger]:
  """Returns what makes one of our loggers; its package is imported when a run asks for it."""

  def make() -> Logger:
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)()

  return make


# Each makes the logger of one run, before the run begins.
LOGGERS: dict[str, Callable[[], Logger]] = {
  "tensorboard": _of("tensorboard", "TensorBoard"),
  "wandb": _of("weights_and_biases", "WeightsAndBiases"),
  "mlflow": _of("ml_flow", "MLflow"),
}


def register_logger(name: str, logger: Callable[[], Logger], *, replace: bool = False) -> None:
  """Makes a logger available to the config key `loggers`.

  Args:
    name: as in the config.
    logger: returns the logger of a run; a class, say.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: another logger has this name.
  """
  register(LOGGERS, "logger", name, logger, replace=replace)


class Loggers:
  """The loggers of a run, none of which can stop it: one that fails is told of once and left out.

  Args:
    names: of the loggers.

  Raises:
    ConfigError: an unknown name, or a package that is not installed.
  """

  def __init__(self, names: Iterable[str]):
    self._loggers: dict[str, Logger] = {}
    for name in names:
      if name not in LOGGERS:
        raise ConfigError(unknown("logger in config key 'loggers'", name, LOGGERS))
      try:
        self._loggers[name] = LOGGERS[name]()
      except ImportError as error:
        raise ConfigError(
          f"config key 'loggers': {name!r} cannot be used here ({error}); pip install "
          f"'cnnlab[{name}]'"
        ) from error

  def start(self, config: JsonMapping, directory: Path, step: int) -> None:
    """Starts all; the arguments are those of `Logger.start`."""
    for name, logger in list(self._loggers.items()):
      with self._left_out_if_it_fails(name):
        logger.start(config, directory, step)

  def log(self, step: int, row: JsonMapping) -> None:
    """Hands the numbers of a row to all."""
    metrics = {name: float(value) for name, value in row.items() if value is not None}
    for name, logger in list(self._loggers.items()):
      with self._left_out_if_it_fails(name):
        logger.log(step, metrics)

  def finish(self, status: str) -> None:
    """Ends all."""
    for name, logger in list(self._loggers.items()):
      with self._left_out_if_it_fails(name):
        logger.finish(status)

  @contextlib.contextmanager
  def _left_out_if_it_fails(self, name: str) -> Iterator[None]:
    try:
      yield
    except Exception as error:  # of somebody else's code, a network, a disk
      del self._loggers[name]
      log.warning("the logger %r takes no further rows of this run: %s", name, reason(error))
