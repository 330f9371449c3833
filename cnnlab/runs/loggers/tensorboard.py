"""The rows of a run as events for TensorBoard, in the run's folder `tensorboard`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar

from cnnlab.types import JsonMapping


class TensorBoard:
  """An event file, written at once: a writer's thread would end unseen on a full disk, and block.

  What an earlier session wrote after the step at which this one begins is void to TensorBoard.
  """

  def start(self, config: JsonMapping, directory: Path, step: int) -> None:
    """Begins, or goes on with the run that it began in an earlier session."""
    folder = directory / "tensorboard"
    folder.mkdir(exist_ok=True)
    self._writer = EventsWriter(str(folder / "events"))
    self._write(Event(session_log=SessionLog(status=SessionLog.START), step=step + 1))

  def log(self, step: int, metrics: Mapping[str, float]) -> None:
    """Takes the metrics `train/...`, `eval/...` after a step."""
    for name, value in metrics.items():
      self._write(Event(summary=scalar(name, value), step=step))
    self._writer.flush()

  def finish(self, status: str) -> None:
    """Ends the session with the run's status."""
    self._writer.close()

  def _write(self, event: Event) -> None:
    event.wall_time = time.time()
    self._writer.write_event(event)
