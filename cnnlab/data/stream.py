"""A split too large for the device: batches decoded ahead by Grain's worker processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnnlab.data.features import empty_batch
from cnnlab.data.images import BadImage, Size
from cnnlab.data.order import BatchOrder
from cnnlab.data.sources import Source
from cnnlab.data.splits import Batch, Split, check_skipped
from cnnlab.errors import DataError

ENDLESS = 2**40  # steps; Grain wants a length
_AHEAD = 2  # batches that each worker holds ready
_FILL_SECONDS = 2.0  # in which a worker whose batches are not taken has probably come to wait


@dataclasses.dataclass(frozen=True)
class Batches:
  """Random access to whole decoded batches: item i is this host's part of batch i.

  An unreadable training image is replaced by the next readable one of the data set, so that the
  batch stays whole and the rest of the order as it is; in evaluation it is masked. Their indices
  and reasons travel with the batch under 'bad'.
  """

  source: Source
  size: Size
  channels: int
  plan: BatchOrder
  training: bool
  start: int = 0

  def __len__(self) -> int:
    return ENDLESS if self.training else self.plan.num_eval_batches(len(self.source))

  def __getitem__(self, step: int) -> dict[str, Any]:
    # An error that crosses from a worker arrives as another type with a foreign traceback; as a
    # message it stays what it is.
    try:
      return self._batch(step)
    except DataError as error:
      return {"error": str(error)}

  def _batch(self, step: int) -> dict[str, Any]:
    count = len(self.source)
    if self.training:
      indices = self.plan.train(self.start + int(step), count)
      mask = None
    else:
      indices, mask = self.plan.eval(int(step) % len(self), count)
    bad: dict[int, str] = {}
    arrays = empty_batch(self.source.features, len(indices), self.size, self.channels)
    for row, example in enumerate(self.source.read(indices.tolist(), self.size, self.channels)):
      if isinstance(example, BadImage):
        bad[int(indices[row])] = str(example)
        if mask is not None:
          mask[row] = False
          continue
        example = self._next_readable(int(indices[row]), bad)
      for name, array in arrays.items():
        array[row] = example[name]
    batch = {**arrays, "bad": bad}
    return batch if mask is None else {**batch, "mask": mask}

  def _next_readable(self, index: int, bad: dict[int, str]) -> dict[str, Any]:
    for ahead in range(1, len(self.source)):
      candidate = (index + ahead) % len(self.source)
      (example,) = self.source.read([candidate], self.size, self.channels)
      if not isinstance(example, BadImage):
        return example
      bad[candidate] = str(example)
    raise DataError(f"{self.source.name}: no image of it can be read")


def _end_with_parent(worker: int, workers: int) -> None:
  """Makes a worker process end when the run is killed, which cannot tell its workers.

  Once all have ended, Python's resource tracker frees the shared memory that held their batches.
  """
  parent = multiprocessing.parent_process()
  if parent is None:
    return

  def watch() -> None:
    parent.join()
    # Memory is made known to the tracker a moment after it is created. Nobody takes batches any
    # more, so the worker soon waits, and does not end within that moment.
    time.sleep(_FILL_SECONDS)
    os._exit(1)

  threading.Thread(target=watch, daemon=True).start()


class StreamSplit(Split):
  """Batches arrive from the host as uint8 images; nothing stays on the device.

  Attributes:
    source: what the batches are read from.
  """

  def __init__(
    self, source: Source, size: Size, channels: int, workers: int, max_bad: int, plan: BatchOrder
  ):
    """Initializes the split of a source that `workers` processes decode (0: none).

    `max_bad` unreadable images are skipped; `skipped` names those met so far.
    """
    super().__init__(len(source), [], plan)
    self.source = source
    self._format = (size, channels)
    self._workers = workers
    self._max_bad = max_bad
    self._bad: dict[int, str] = {}
    self._open: dict[str, Any] = {}
    self._round_done = True

  @property
  def num_readable(self) -> int:
    """Examples without the unreadable ones that were met so far."""
    return self.num_examples - len(self._bad)

  def _iterate(self, kind: str, batches: Batches, repeat: bool) -> Iterator[dict[str, Any]]:
    # Grain takes a second to import; sets that live on the device never need it.
    import grain
    from absl import flags

    # Grain reads its absl flags when workers start; without absl's app.run nobody parsed them.
    if not flags.FLAGS.is_parsed():
      flags.FLAGS.mark_as_parsed()
    self._end(kind)
    dataset = grain.MapDataset.source(batches)
    if repeat:
      dataset = dataset.repeat()
    stream = dataset.to_iter_dataset(grain.ReadOptions(num_threads=1, prefetch_buffer_size=_AHEAD))
    if self._workers:
      options = grain.MultiprocessingOptions(
        num_workers=self._workers, per_worker_buffer_size=_AHEAD
      )
      stream = stream.mp_prefetch(options, worker_init_fn=_end_with_parent)
    self._open[kind] = iter(stream)
    return self._open[kind]

  def _next(self, iterator: Iterator[dict[str, Any]]) -> Batch:
    try:
      batch = next(iterator)
    except RuntimeError as error:  # Grain's, of a worker that was killed
      raise DataError(
        f"{self.source.name}: a process that decodes images ended unexpectedly ({error}); if the "
        "system has killed it for want of memory, lower data.workers or batch_size"
      ) from error
    if "error" in batch:
      raise DataError(batch["error"])
    bad = batch.pop("bad")
    if bad:
      self._bad |= bad
      self.skipped = [self._bad[index] for index in sorted(self._bad)]
      check_skipped(self.skipped, self._max_bad, self.source.name)
    return batch

  def train_batches(self, start_step: int = 0) -> Iterator[Batch]:
    """Yields the batches of steps `start_step`, `start_step` + 1, ... without end."""
    batches = Batches(self.source, *self._format, self.plan, training=True, start=start_step)
    iterator = self._iterate("train", batches, repeat=False)
    while True:
      yield self._next(iterator)

  def eval_batches(self) -> Iterator[Batch]:
    """Yields batches that cover each example once, with 'mask' bool [batch], False on padding."""
    # One endless iterator serves every evaluation, so that workers are started once; one that was
    # broken off is in the middle of a round, and is replaced.
    if "eval" not in self._open or not self._round_done:
      batches = Batches(self.source, *self._format, self.plan, training=False)
      self._iterate("eval", batches, repeat=True)
    iterator = self._open["eval"]
    self._round_done = False
    for _ in range(self.num_eval_batches):
      yield self._next(iterator)
    self._round_done = True

  def examples(self, indices: Sequence[int]) -> Batch:
    """Returns some examples in their stored form, as arrays [indices, ...] on the host."""
    readable = np.setdiff1d(np.arange(self.num_examples), list(self._bad))
    rows = []
    for row in self.source.read(readable[np.asarray(indices)].tolist(), *self._format):
      if isinstance(row, BadImage):
        raise DataError(f"cannot read the image {row}")
      rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

  def gather(self, constants: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
    """Returns the examples of a batch in their stored form, as arrays [b, ...]; traceable."""
    return batch

  def _end(self, kind: str) -> None:
    iterator = self._open.pop(kind, None)
    if iterator is not None:
      iterator.close()

  def close(self) -> None:
    """Ends the worker processes."""
    for kind in list(self._open):
      self._end(kind)
