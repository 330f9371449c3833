"""Data sets that TensorFlow Datasets has prepared as ArrayRecord, read without TensorFlow."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnlab.data import listing
from cnnlab.data.cache import cached
from cnnlab.data.features import BOX_CROWD, BOX_LABELS, Example, Feature, Features, fit_example
from cnnlab.data.images import BadImage, Size
from cnnlab.errors import DataError, unknown

USUAL_TRAIN = ("train",)
USUAL_EVAL = ("validation", "val", "test")
OBJECTS = "objects"
CROWDS = ("is_crowd", "is_difficult")  # as COCO's and VOC's objects have it
MOST_BOXES = 100  # of an image; COCO has 93 at most

_NUMBERS = {
  name: "float32" if name.startswith("float") else "int32"
  for name in ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64")
}


def _tfds() -> Any:
  # Its import costs half a second and it logs at once which optional packages it lacks.
  for name in ("absl", "tensorflow_datasets"):
    logging.getLogger(name).setLevel(logging.ERROR)
  import tensorflow_datasets

  return tensorflow_datasets


@contextlib.contextmanager
def _reading(directory: str, what: str = "") -> Iterator[None]:
  """Turns whatever TFDS raises of files that are damaged or missing into one line."""
  try:
    yield
  except DataError:
    raise
  # It depends on the file and the damage: of JSON, protobuf, ArrayRecord, keys, types and more.
  except Exception as error:
    first = next(iter(str(error).splitlines()), "")
    raise DataError(
      f"the prepared data set {directory} cannot be read{what}: {type(error).__name__}: "
      f"{first[:300]}; if files of it are damaged or missing, prepare it again"
    ) from error


@dataclasses.dataclass(frozen=True)
class TfdsSource:
  """One split of a prepared data set; `features` are those of the set that a task can use."""

  directory: str
  split: str
  features: Features
  parallel_reads: bool = False

  def size(self) -> Size | None:
    """Returns the (height, width) that all its images have, None where they differ."""
    height, width, _ = self.features["image"].shape
    return (height, width) if height and width else None

  @property
  def name(self) -> str:
    """What errors call it."""
    path = Path(self.directory)
    return f"tfds:{path.parent.name}/{path.name}[{self.split}]"

  # Readers are rebuilt in each process instead of being pickled with their open files.
  def __getstate__(self) -> dict[str, Any]:
    return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

  @functools.cached_property
  def _records(self) -> Any:
    return _tfds().builder_from_directory(self.directory).as_data_source(split=self.split)

  def __len__(self) -> int:
    with _reading(self.directory, f", split {self.split!r}"):
      return len(self._records)

  def labels(self) -> np.ndarray | None:
    """Returns the class of each example, int32 [n]; None where examples have no single label."""
    if "label" not in self.features:
      return None
    arrays, _ = cached(["labels", self.fingerprint()], self._scan_labels)
    return arrays["label"]

  def _scan_labels(self) -> tuple[dict[str, np.ndarray], Any]:
    tfds = _tfds()
    builder = tfds.builder_from_directory(self.directory)
    pictures = [n for n, f in self.features.items() if f.kind in ("image", "label_map")]
    decoders = {name: tfds.decode.SkipDecoding() for name in pictures}
    records = builder.as_data_source(split=self.split, decoders=decoders)
    labels: list[int] = []
    with _reading(self.directory, f", split {self.split!r}"):
      for start in range(0, len(records), 1000):
        chunk = records.__getitems__(list(range(start, min(start + 1000, len(records)))))
        labels.extend(int(example["label"]) for example in chunk)
    return {"label": np.array(labels, np.int32)}, None

  def read(
    self, indices: Sequence[int], size: Size | None, channels: int
  ) -> list[Example | BadImage]:
    """Returns examples in their stored form, or what is wrong with them."""
    plain = [int(i) for i in indices]
    try:
      found = self._records.__getitems__(plain)
    # Which record is broken is found by asking for each alone; what it raises depends on the codec.
    except Exception:
      return [self._read_one(index, size, channels) for index in plain]
    return [self._example(raw, size, channels) for raw in found]

  def _read_one(self, index: int, size: Size | None, channels: int) -> Example | BadImage:
    try:
      raw = self._records[index]
    except Exception as error:
      return BadImage(f"{self.name} record {index}", f"{type(error).__name__}: {error}")
    return self._example(raw, size, channels)

  def _example(self, raw: dict[str, Any], size: Size | None, channels: int) -> Example:
    values: dict[str, Any] = {}
    for name, feature in self.features.items():
      if feature.kind == "boxes":
        height, width = raw["image"].shape[:2]
        values[name] = np.asarray(raw[OBJECTS]["bbox"]).reshape(-1, 4) * [
          height, width, height, width,
        ]  # fmt: skip
      elif name in (BOX_LABELS, BOX_CROWD):
        keys = ("label",) if name == BOX_LABELS else CROWDS
        key = next(key for key in keys if key in raw[OBJECTS])
        of_objects = np.asarray(raw[OBJECTS][key], feature.dtype)
        values[name] = np.pad(of_objects, (0, max(0, MOST_BOXES - len(of_objects))))
      else:
        values[name] = raw[name]
    try:
      return fit_example(values, self.features, size, channels)
    except DataError as error:
      raise DataError(f"{self.name}: {error}") from error

  def fingerprint(self) -> Any:
    """Returns a JSON-able value that changes when the data do; None where it is not known."""
    # Preparing a set again rewrites this file, whatever its version says.
    info = Path(self.directory, "dataset_info.json").stat()
    return ["tfds", os.path.abspath(self.directory), self.split, info.st_size, info.st_mtime_ns]


def read_features(features: Any, most_boxes: int) -> Features:
  """Returns the features of a TFDS set that have a kind, by their names there.

  `objects` with `bbox`, `label` and a mark of those that do not count become `boxes`, `box_labels` and
  `box_crowd`; texts and the like are left out.

  Args:
    features: the set's FeaturesDict.
    most_boxes: to which boxes are padded.
  """
  tfds = _tfds().features
  found: dict[str, Feature] = {}
  for name, feature in features.items():
    if isinstance(feature, tfds.LabeledImage):
      found[name] = Feature("label_map", tuple(feature.shape[:2]), "uint8", tuple(feature.names))
    elif isinstance(feature, tfds.Image):
      height, width, channels = feature.shape
      found[name] = Feature("image", (height, width, channels or 3), "uint8")
    elif isinstance(feature, tfds.ClassLabel):
      if feature.names:
        found[name] = Feature("label", (), "int32", tuple(feature.names))
    elif isinstance(feature, tfds.Tensor) and type(feature) in (tfds.Tensor, tfds.Scalar):
      if None not in feature.shape and np.dtype(feature.np_dtype).name in _NUMBERS:
        found[name] = Feature(
          "vector", tuple(feature.shape), _NUMBERS[np.dtype(feature.np_dtype).name]
        )
    elif name == OBJECTS and "bbox" in getattr(feature, "feature", {}):
      found["boxes"] = Feature("boxes", (most_boxes, 4), "float32")
      if "label" in feature.feature:
        names = tuple(feature.feature["label"].names)
        found[BOX_LABELS] = Feature("vector", (most_boxes,), "int32", names)
      if any(key in feature.feature for key in CROWDS):
        found[BOX_CROWD] = Feature("vector", (most_boxes,), "bool")
  return dict(sorted(found.items(), key=lambda item: item[0] != "image"))


def prepared_sets(data_dir: str) -> list[str]:
  """Returns the names of the data sets that lie prepared in a TFDS data_dir."""
  # <name>/<version> or <name>/<config>/<version>; deeper, `data.dir=/` would search the disk.
  infos = [
    i for depth in ("*/*", "*/*/*") for i in Path(data_dir).glob(f"{depth}/dataset_info.json")
  ]
  return sorted({info.parent.parent.relative_to(data_dir).as_posix() for info in infos})


def find_set(name: str, data_dir: str) -> str:
  """Returns the directory of a prepared data set's newest, or named, version.

  Args:
    name: as TFDS writes it: `cifar10`, `cifar10:3.0.2`, `name/config`.
    data_dir: TFDS's data_dir; '' = $TFDS_DATA_DIR or ~/tensorflow_datasets, as TFDS has it.

  Raises:
    DataError: it is not there; the message says how to prepare it. Nothing is downloaded.
  """
  place = data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets"
  name, _, version = name.partition(":")
  prepare = _how_to_prepare(name, place)
  root = listing.existing_folder(place, f"data.dir (data.name 'tfds:{name}')", prepare)
  allowed = prepared_sets(str(root))
  if name not in allowed:
    raise DataError(f"{unknown('data set', name, allowed)} (in {root}); {prepare}")
  versions = [info.parent.name for info in (root / name).glob("*/dataset_info.json")]
  if version and version not in versions:
    raise DataError(
      f"{unknown(f'version of tfds:{name}', version, versions)} (in {root}); {prepare}"
    )
  newest = max(versions, key=lambda v: [int(part) for part in re.findall(r"\d+", v)])
  return str(root / name / (version or newest))


def _how_to_prepare(name: str, data_dir: str) -> str:
  code = (
    f"import tensorflow_datasets as tfds; tfds.builder({name!r}, data_dir={data_dir!r}, "
    "file_format='array_record').download_and_prepare()"
  )
  # What is shown is copied into a shell.
  quoted = shlex.quote(code) if set('"$`\\!') & set(code) else f'"{code}"'
  return (
    f"to download and prepare a data set once (cnnlab itself never downloads): python -c {quoted} "
    "(preparing may need tensorflow and importlib_resources installed, reading does not)"
  )


class TfdsSet:
  """The splits of a prepared data set."""

  def __init__(self, name: str, data_dir: str):
    """Opens its description; see `find_set` for arguments and errors."""
    self.directory = find_set(name, data_dir)
    with _reading(self.directory):
      info = json.loads(Path(self.directory, "dataset_info.json").read_text())
      kind = info.get("fileFormat") or "tfrecord"
    if kind != "array_record":
      raise DataError(
        f"{self.directory} was prepared as {kind}, which only TensorFlow reads; prepare it with "
        "file_format='array_record'"
      )
    with _reading(self.directory):
      self._info = _tfds().builder_from_directory(self.directory).info
      self.features = read_features(self._info.features, MOST_BOXES)
    if getattr(self.features.get("image"), "kind", None) != "image":
      raise DataError(
        f"tfds:{name} has the features {', '.join(self._info.features)}; an 'image' is needed"
      )

  @property
  def splits(self) -> tuple[str, ...]:
    """Names of its splits."""
    return tuple(self._info.splits)

  def usual(self, candidates: Sequence[str], key: str) -> str:
    """Returns the first candidate that is a split; `key` is the config key to set instead.

    Raises:
      DataError: none is.
    """
    for candidate in candidates:
      if candidate in self.splits:
        return candidate
    raise DataError(
      f"{self.directory} has no split named {' or '.join(candidates)}: set {key} to one of "
      f"{', '.join(self.splits)}, or to a part such as '{self.splits[0]}[:80%]'"
    )

  def source(self, split: str) -> TfdsSource:
    """Returns one split, which may be a slice such as `train[:90%]`.

    Raises:
      DataError: unknown split, or one without examples.
    """
    for part in split.split("+"):
      base = part.partition("[")[0].strip()
      if base not in self.splits and base != "all":
        raise DataError(f"{unknown('split', base, self.splits)} (in {self.directory})")
    try:
      count = self._info.splits[split].num_examples
    # TFDS's parser has no error of its own.
    except Exception as error:
      raise DataError(f"split {split!r} of {self.directory} is misspelt: {error}") from error
    if not count:
      raise DataError(f"split {split!r} of {self.directory} has no examples")
    source = TfdsSource(self.directory, split, self.features)
    if len(source) != count:
      raise DataError(
        f"split {split!r} of {self.directory} has {len(source)} examples instead of {count}: files "
        "of it are damaged or missing; prepare it again"
      )
    return source
