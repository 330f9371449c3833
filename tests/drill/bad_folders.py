"""Image folders and prepared sets that are not as they should be, through `train`."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.drill.bad_images import encode, pixels
from tests.drill.cases import Bad, Case, command, judge, kept_directory

TINY = (
  "--config=configs/digits.py:tiny", "--config.max_steps=1", "--config.batch_size=4",
  "--config.eval_batch_size=4", "--config.data.crop_padding=0",
)  # fmt: skip
ESCAPE = "\x1b[31m"


def cases() -> list[Case]:
  """Returns the cases."""
  return [
    *(Case("data: folders", name, _folder_case, (name,)) for name in FOLDERS),
    *(Case("data: special files", name, _special, (name,)) for name in SPECIAL),
    *(Case("data: names", repr(name), _name, (name,)) for name in NAMES),
    *(Case("data: splits and sizes", " ".join(args), _values, (args,)) for args in VALUES),
    *(Case("data: prepared sets", name, _prepared, (name,)) for name in PREPARED),
  ]


def _png(path: Path, seed: int = 0) -> None:
  path.parent.mkdir(parents=True, exist_ok=True)
  rng = np.random.default_rng(seed)
  path.write_bytes(encode(Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)), "PNG"))


def make(root: Path, classes: tuple[str, ...] = ("ant", "bee"), splits: bool = True) -> Path:
  """Makes a sound folder: 4 training and 2 evaluation images of each class."""
  for split, count in (("train", 4), ("val", 2)) if splits else ((".", 6),):
    for name in classes:
      for i in range(count):
        _png(root / split / name / f"{i}.png", i)
  return root


def train(directory: Path, name: str, *more: str):
  """Trains one step on a data set."""
  return command(
    "train", *TINY, f"--workdir={directory / 'run'}", f"--config.data.name={name}", *more
  )


# --- Folders: (what is done to a sound one, what the message names; () where it is fine). ---


def _one_class(root: Path) -> None:
  for split in ("train", "val"):
    shutil.rmtree(root / split / "bee")


def _many_classes(root: Path) -> None:
  for i in range(2_000):
    _png(root / "train" / f"c{i}" / "0.png")
    (root / "val" / f"c{i}").mkdir(parents=True)
    os.link(root / "train" / f"c{i}" / "0.png", root / "val" / f"c{i}" / "0.png")


def _unreadable_class(root: Path) -> None:
  shutil.rmtree(root / "train" / "bee")
  (root / "train" / "bee").mkdir()
  for i in range(3):
    (root / "train" / "bee" / f"{i}.png").write_text("no image")


def _loop(root: Path) -> None:
  (root / "train" / "cat").symlink_to(root / "train" / "cat")


def _loop_above(root: Path) -> None:
  (root / "train" / "ant" / "more").symlink_to(root)


def _linked_class(root: Path) -> None:
  for split in ("train", "val"):
    shutil.move(root / split / "bee", root / f"{split}-elsewhere")
    (root / split / "bee").symlink_to(root / f"{split}-elsewhere")


def _nested(root: Path) -> None:
  for split in ("train", "val"):
    _png(root / split / "cat" / "deep" / "0.png")


def _file_as_class(root: Path) -> None:
  shutil.rmtree(root / "train" / "bee")
  (root / "train" / "bee").write_text("x")


def _file_as_split(root: Path) -> None:
  shutil.rmtree(root / "val")
  (root / "val").write_text("x")


def _escape_class(root: Path) -> None:
  (root / "train" / f"{ESCAPE}cat").mkdir()


def _escape_file(root: Path) -> None:
  (root / "train" / "bee" / f"{ESCAPE}.png").write_text("no image")


def _remove(*names: str) -> Callable[[Path], None]:
  def change(root: Path) -> None:
    for name in names:
      shutil.rmtree(root / name)

  return change


def _rename(old: str, new: str) -> Callable[[Path], None]:
  return lambda root: (root / old).rename(root / new) and None


def _emptied(root: Path) -> None:
  shutil.rmtree(root)
  root.mkdir()


def _as_file(root: Path) -> None:
  shutil.rmtree(root)
  root.write_text("x")


def _linked_away(root: Path) -> None:
  shutil.rmtree(root)
  root.symlink_to(root.parent / "nowhere")


def _linked_to_itself(root: Path) -> None:
  shutil.rmtree(root)
  root.symlink_to(root)


def _duplicates(root: Path) -> None:
  _png(root / "train" / "ant" / "0.PNG")
  shutil.copy(root / "train" / "ant" / "0.png", root / "train" / "bee" / "same.png")


# name: (change, texts that a refusal must name, whether training may go on)
FOLDERS: dict[str, tuple[Callable[[Path], None], tuple[str, ...], bool]] = {
  "missing": (shutil.rmtree, ("does not exist",), False),
  "empty": (_emptied, ("set",), False),
  "a file": (_as_file, ("set",), False),
  "a broken link": (_linked_away, ("set",), False),
  "a link to itself": (_linked_to_itself, ("set",), False),
  "one class only": (_one_class, ("ant",), False),
  "no classes in val": (_remove("val/ant", "val/bee"), ("val",), False),
  "train without val": (_remove("val"), ("eval_fraction",), True),
  "a class only in train": (_remove("val/bee"), ("bee",), False),
  "a class only in val": (_remove("train/bee"), ("bee",), False),
  "classes that differ in case": (_rename("val/bee", "val/Bee"), ("Bee",), False),
  "2,000 classes": (_many_classes, ("batch",), True),
  "a class without readable images": (_unreadable_class, ("bee/0.png",), False),
  "a class that is a loop of links": (_loop, ("cat",), False),
  "a loop of links below a class": (_loop_above, (), True),
  "a class behind a link": (_linked_class, (), True),
  "images one level too deep": (_nested, ("cat",), False),
  "a file in a class's place": (_file_as_class, ("bee",), False),
  "a file in val's place": (_file_as_split, ("val",), True),
  "an empty class of terminal codes": (_escape_class, ("cat",), False),
  "a bad file of terminal codes": (_escape_file, (".png",), False),
  "names that differ in case, equal files": (_duplicates, (), True),
}


def _folder_case(directory: Path, name: str) -> str:
  change, mentions, may_succeed = FOLDERS[name]
  root = make(directory / "set")
  change(root)
  return _judged(train(directory, f"folder:{root}"), mentions, may_succeed)


def _judged(result, mentions: tuple[str, ...], may_succeed: bool) -> str:
  if "\x1b[31m" in result.err + result.out:
    raise Bad("unclear", f"terminal codes pass: {result.err!r}")
  return judge(result, mentions, may_succeed)


# --- Files that are no plain files, named as images: they count as unreadable. ---


def _socket(path: Path) -> None:
  here = os.getcwd()
  os.chdir(path.parent)  # names of sockets are short
  try:
    socket.socket(socket.AF_UNIX).bind(path.name)
  finally:
    os.chdir(here)


SPECIAL: dict[str, Callable[[Path], None]] = {
  "a broken link": lambda path: path.symlink_to("nowhere"),
  "a link to itself": lambda path: path.symlink_to(path.name),
  "a link to a device": lambda path: path.symlink_to("/dev/zero"),
  "a pipe": lambda path: os.mkfifo(path),
  "a socket": _socket,
  "a device": lambda path: os.mknod(path, 0o20644, os.makedev(1, 5)),
  "a directory": lambda path: path.mkdir(),
  "a link to a directory": lambda path: path.symlink_to(path.parent),
}


def _special(directory: Path, name: str) -> str:
  root = make(directory / "set")
  file = root / "train" / "ant" / "bad.png"
  SPECIAL[name](file)
  # A folder of such a name is no image that is lost; whether it counts is open.
  return judge(train(directory, f"folder:{root}"), ("ant/bad.png",), "directory" in name)


# --- Names of classes, of files and of the data set. ---

NAMES = (
  b"caf\xe9", "été".encode(), "日本".encode(), b"a b", b"a'b\"c", b"a\nb", b"a\x1b[31mb", b"-x", b"$(id)",
  b"%s{}", b"x" * 255, b"a\\b", b"\xff\xfe", b"[bold]x", b"CON", "a\u202eb".encode(),
)  # fmt: skip


def _name(directory: Path, name: bytes) -> str:
  """Class, file and run as they should be but for their names; then one unreadable file."""
  root = make(directory / "set")
  for split in ("train", "val"):
    folder = os.path.join(os.fsencode(root), split.encode(), name)
    os.mkdir(folder)
    for i in range(4):
      shutil.copy(
        root / split / "ant" / "0.png", os.path.join(folder, b"%d" % i + name[-200:] + b".png")
      )
  end = _judged(train(directory, f"folder:{root}"), (), True)
  if end != "success":
    return end
  report = json.loads((directory / "run" / "status.json").read_text())
  if report["status"] != "done":
    raise Bad("lost", str(report))
  with open(os.path.join(folder, b"bad.png"), "wb"):
    pass
  return _judged(train(directory / "again", f"folder:{root}"), ("bad.png",), True)


VALUES: tuple[tuple[str, ...], ...] = tuple(
  tuple(text.split(" "))
  for text in (
    "data.eval_fraction=0.01", "data.eval_fraction=0.99", "data.eval_fraction=1e-300",
    "data.eval_fraction=1", "data.eval_fraction=0", "data.eval_fraction=-1", "data.eval_fraction=nan",
    "data.train_examples=13", "data.train_examples=-1", "data.train_examples=1",
    "data.eval_examples=1000000000000", "data.eval_examples=-2", "data.train_examples=99999999999999999999",
    "data.train_split=train", "data.eval_split=val", "data.train_split=..", "data.train_split=.",
    "data.train_split=/etc data.eval_split=/etc", "data.train_split=train[:0]",
    "data.name=folder:", "data.name=folder:~nobody-of-this-name", "data.name=folder:~root/nowhere",
    "data.name=folder:a\0b", "data.name=folder:" + "x" * 5000, "data.name=folder:/dev/null",
    "data.name=folder:/proc/self", "data.name=", "data.name=:", "data.name=folder",
    "data.name=tfds:", "data.name=tfds", "data.name=tfds:../../etc", "data.name=tfds:a\0b",
    "data.name=tfds:'", 'data.name=tfds:"', "data.name=tfds:$(id)", "data.name=tfds:*", "data.name=tfds:",
    "data.name=tfds:digits:9.9.9", "data.name=digits:x", "data.dir=a\0b data.name=tfds:x",
    "data.name=tfds:x data.dir=~nobody-of-this-name", "data.name=tfds:x data.dir=/dev/null",
    "data.image_size=100000", "data.image_size=1000000000", "data.image_size=(1,1)", "data.image_size=-1",
    "data.resize=100000", "data.channels=2", "data.max_bad_images=-1", "data.device_limit_mb=0 data.workers=0",
    "data.device_limit_mb=-1",
  )
)  # fmt: skip


def _values(directory: Path, args: tuple[str, ...]) -> str:
  root = make(directory / "set", splits="split" in args[0])
  named = () if any(a.startswith("data.name=") for a in args) else (f"data.name=folder:{root}",)
  result = command(
    "train", *TINY, f"--workdir={directory / 'run'}", *(f"--config.{a}" for a in (*named, *args))
  )
  keys = tuple(a.partition("=")[0].removeprefix("data.") for a in args[:1])
  if args[0].endswith(("examples=1", "(1,1)", "/proc/self")):
    keys = ()  # the message is of the batch, of the network, of a folder below
  fine = ("=1", "=train", "=val", "(1,1)", "limit_mb=0", "0.99", "=0.01")
  return _judged(result, keys if keys != ("name",) else ("data",), args[0].endswith(fine))


# --- Prepared sets: damage to a small one. ---


def _cut(file: Path, part: float) -> None:
  file.write_bytes(file.read_bytes()[: int(file.stat().st_size * part)])


def _flip(file: Path) -> None:
  data = bytearray(file.read_bytes())
  filled = [position for position, byte in enumerate(data) if byte]  # the rest may be padding
  for position in filled[len(filled) // 4 : len(filled) // 2]:
    data[position] ^= 0xFF
  file.write_bytes(data)


def _swap(file: Path) -> None:
  file.unlink()
  file.mkdir()


DAMAGE: dict[str, Callable[[Path], None]] = {
  "missing": lambda file: file.unlink(),
  "empty": lambda file: file.write_bytes(b""),
  "cut to a tenth": lambda file: _cut(file, 0.1),
  "cut by half": lambda file: _cut(file, 0.5),
  "without its end": lambda file: _cut(file, 0.97),
  "flipped": _flip,
  "text": lambda file: file.write_text("hello"),
  "a list": lambda file: file.write_text("[]"),
  "null": lambda file: file.write_text("null"),
  "an empty object": lambda file: file.write_text("{}"),
  "a directory": _swap,
}
FILES = ("dataset_info.json", "features.json", "*train.array_record*", "*test.array_record*",
         "label.labels.txt")  # fmt: skip
PREPARED = tuple(f"{file} {damage}" for file in FILES for damage in DAMAGE)


@functools.cache
def prepared() -> Path:
  """Returns a data_dir, made once for each process."""
  return prepare(kept_directory("sets"))


def prepare(place: Path) -> Path:
  """Makes a data_dir with the set `tiny`: 8 training and 4 test images of two classes."""
  import tensorflow_datasets as tfds

  tfds.disable_progress_bar()

  class Tiny(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    name = "tiny"
    VERSION = tfds.core.Version("1.0.0")
    url_infos: dict = {}

    def _info(self):
      features = {
        "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(names=["no", "yes"]),
      }
      return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
      return {split: self._generate_examples(n) for split, n in (("train", 8), ("test", 4))}

    def _generate_examples(self, count):
      for i in range(count):
        yield i, {"image": encode(Image.fromarray(pixels(8)), "PNG"), "label": i % 2}

  Tiny(data_dir=place, file_format="array_record").download_and_prepare()
  return place


def _prepared(directory: Path, name: str) -> str:
  pattern, _, damage = name.partition(" ")
  place = directory / "sets"
  shutil.copytree(prepared(), place)
  file = next((place / "tiny" / "1.0.0").glob(pattern))
  DAMAGE[damage](file)
  result = train(directory, "tfds:tiny", f"--config.data.dir={place}")
  # What lies in the names' file beside the features is not needed to train.
  return judge(result, ("tiny",), may_succeed=pattern == "label.labels.txt")
