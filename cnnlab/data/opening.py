"""From `data.name` to the sources of a data set's splits, and the data sets that users add."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import ChainMap
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from cnnlab.data import sources
from cnnlab.data.arrays import open_npz
from cnnlab.data.coco import open_coco
from cnnlab.data.folder import open_folder
from cnnlab.data.idx import open_idx
from cnnlab.data.pairs import open_pairs
from cnnlab.data.proposing import proposing
from cnnlab.data.scenes import open_scenes
from cnnlab.data.settings import DataSettings
from cnnlab.data.sources import Source
from cnnlab.data.table import open_csv
from cnnlab.data.voc import open_voc
from cnnlab.errors import DataError, unknown
from cnnlab.register import register

# One source, of which `data.eval_fraction` is held out, or those of the training and the evaluation
# split.
Sources: TypeAlias = "Source | tuple[Source, Source]"
OpenSource: TypeAlias = "Callable[[str, DataSettings], Sources]"


@dataclasses.dataclass(frozen=True)
class Opened:
  """The sources of a data set.

  Attributes:
    train, eval: its splits.
    unused: keys of the data section that played no part in opening it.
  """

  train: Source
  eval: Source
  unused: tuple[str, ...] = ()


class Kind(NamedTuple):
  """A kind of data sets.

  Attributes:
    open: from what follows the colon in `data.name`, and the settings, to the sources.
    rest: what follows the colon, for messages; empty where nothing may.
    unused: keys of the data section that play no part.
  """

  open: OpenSource
  rest: str
  unused: tuple[str, ...]


def _open_tfds(name: str, settings: DataSettings) -> Sources:
  from cnnlab.data import tfds

  opened = tfds.TfdsSet(name, settings.dir)
  train = settings.train_split or opened.usual(tfds.USUAL_TRAIN, "data.train_split")
  if len(opened.splits) == 1 and not settings.eval_split:
    return opened.source(train)
  evaluation = settings.eval_split or opened.usual(tfds.USUAL_EVAL, "data.eval_split")
  return opened.source(train), opened.source(evaluation)


def _open_unseen(name: str, settings: DataSettings) -> Sources:
  from cnnlab.data.unseen import with_unseen_classes

  return with_unseen_classes(_found(dataclasses.replace(settings, name=name))[0])


def _open_go(path: str, settings: DataSettings) -> Sources:
  from cnnlab.data.go import open_go  # needs libraries that not everybody has

  return open_go(path, settings)


_ALL = ("dir", "train_split", "eval_split", "max_bad_images")
KINDS: dict[str, Kind] = {
  "digits": Kind(lambda rest, data: sources.digits(), "", _ALL),
  "scenes": Kind(lambda rest, data: open_scenes(rest), "<settings>", _ALL),
  "tfds": Kind(_open_tfds, "<name>", ()),
  "folder": Kind(
    lambda rest, data: open_folder(rest, data.train_split, data.eval_split), "<path>", ("dir",)
  ),
  "pairs": Kind(
    lambda rest, data: open_pairs(rest, data.train_split, data.eval_split), "<path>", ("dir",)
  ),
  "coco": Kind(
    lambda rest, data: open_coco(rest, data.train_split, data.eval_split), "<path>", ("dir",)
  ),
  "voc": Kind(
    lambda rest, data: open_voc(rest, data.train_split, data.eval_split), "<path>", ("dir",)
  ),
  "csv": Kind(
    lambda rest, data: open_csv(rest, data.train_split, data.eval_split), "<file>", ("dir",)
  ),
  "npz": Kind(
    lambda rest, data: open_npz(rest, data.train_split, data.eval_split),
    "<file>",
    ("dir", "max_bad_images"),
  ),
  "idx": Kind(lambda rest, data: open_idx(rest), "<path>", _ALL),
  "unseen": Kind(_open_unseen, "<data set>", ()),
  "go": Kind(_open_go, "<path>", ("dir", "centering", "scale")),
}
_OPTIONAL = ("scenes",)  # kinds that may be named without what follows the colon
_registered: dict[str, Sources | OpenSource] = {}


def register_source(name: str, source: Sources | OpenSource, *, replace: bool = False) -> None:
  """Makes a data set available as `data.name='<name>'`.

  Args:
    name: of the data set.
    source: a source, of which `data.eval_fraction` is held out; or the pair of the training and the
      evaluation source; or a function that returns either. This is called with what follows the colon
      in `data.name='<name>:<rest>'`, empty without one, and with the settings of the section.
    replace: see `cnnlab.register.register`.

  Raises:
    ConfigError: the name is taken.
  """
  register(ChainMap(_registered, KINDS), "data set", name, source, replace=replace)  # type: ignore[arg-type]


def open_sources(settings: DataSettings, whole: bool = False) -> Opened:
  """Returns the sources of the training and the evaluation split.

  Args:
    settings: the data section.
    whole: whether a set with one split only is both, every example of it, in place of holding out
      `data.eval_fraction`: it is evaluated, not trained on.

  Raises:
    DataError: there is no such data set, or it cannot be opened.
  """
  sources, unused = _found(settings)
  return _split(sources, settings, unused, whole)


def _found(settings: DataSettings) -> tuple[Sources, tuple[str, ...]]:
  """Returns the sources of a data set, and keys of the data section that played no part."""
  kind, colon, rest = settings.name.partition(":")
  known = KINDS.get(kind)
  if known is not None and (bool(rest) == bool(known.rest) or (kind in _OPTIONAL and not colon)):
    return known.open(rest, settings), known.unused
  own = _registered.get(kind)
  if callable(own):
    return own(rest, settings), ()
  if own is not None and not colon:
    return own, _ALL
  raise DataError(unknown("data set", settings.name, _allowed(settings)))


def _allowed(settings: DataSettings) -> list[str]:
  """Returns what `data.name` may be, with the sets that are prepared in `data.dir`."""
  names = [*_registered]
  for name, kind in KINDS.items():
    names += [f"{name}:{kind.rest}"] if kind.rest and name not in _OPTIONAL else [name]
  if settings.dir:
    from cnnlab.data.tfds import prepared_sets

    with contextlib.suppress(OSError, ValueError):  # no folder, or no name of one
      names += [f"tfds:{name}" for name in prepared_sets(settings.dir)]
  return names


def _split(opened: Sources, settings: DataSettings, unused: tuple[str, ...], whole: bool) -> Opened:
  if settings.proposals:
    opened = proposing(opened, settings.proposals)
  if isinstance(opened, tuple):
    return Opened(*opened, unused=(*unused, "eval_fraction"))
  if whole:
    return Opened(opened, opened, unused)
  return Opened(*sources.held_out(opened, settings.eval_fraction), unused)
