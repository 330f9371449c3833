"""The rows of a run as events for TensorBoard, which must never stop the run."""

from __future__ import annotations

import logging
import time
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from cnnlab.types import JsonMapping

log = logging.getLogger(__name__)


class Events:
  """An event file, written at once: a writer's thread would end unseen on a full disk, and block.

  If it cannot be written, a warning says so, and there are no further events.

  Args:
    folder: of the event files.
    step: of the first row that may follow; what an earlier session wrote from there on is void.
  """

  def __init__(self, folder: Path, step: int):
    self._folder = folder
    self._writer: EventsWriter | None = None
    try:
      folder.mkdir(exist_ok=True)
      self._writer = EventsWriter(str(folder / "events"))
      self._write(Event(session_log=SessionLog(status=SessionLog.START), step=step))
    except OSError as error:
      self._give_up(error)

  def add(self, step: int, row: JsonMapping) -> None:
    """Writes the numbers of a row."""
    try:
      for name, value in row.items():
        if value is not None:
          self._write(Event(summary=scalar(name, value), step=step))
      if self._writer:
        self._writer.flush()
    except OSError as error:
      self._give_up(error)

  def close(self) -> None:
    """Closes the file."""
    try:
      if self._writer:
        self._writer.close()
    except OSError as error:
      self._give_up(error)

  def _write(self, event: Event) -> None:
    event.wall_time = time.time()
    if self._writer:
      self._writer.write_event(event)

  def _give_up(self, error: OSError) -> None:
    self._writer = None
    log.warning("no further events for TensorBoard in %s: %s", self._folder, error.strerror)
