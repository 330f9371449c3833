"""Bad images, folders, prepared sets and caches, through the loader, `train` and `predict`."""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from tests.drill import bad_caches, bad_folders
from tests.drill.bad_images import Sample, encode, pixels, samples
from tests.drill.cases import Bad, Case, command, judge, kept_directory

MOST_MEMORY = 900  # MB above what the process had, for one image
TINY = (
  "--config=configs/digits.py:tiny", "--config.max_steps=1", "--config.batch_size=4",
  "--config.eval_batch_size=4", "--config.data.crop_padding=0",
)  # fmt: skip
LARGE = (12_000, 12_000)


def cases() -> list[Case]:
  """Returns this part's cases."""
  corpus = samples()
  one_of_each = {(s.kind, s.name.split(" ")[0]): s for s in corpus}.values()
  return [
    *(Case(f"data: {s.kind}", s.name, _load, (s,)) for s in corpus),
    *(Case("data: images, train", s.name, _train, (s,)) for s in one_of_each),
    *(Case("data: images, stream", s.name, _stream, (s,)) for s in one_of_each),
    *(Case("data: images, predict", s.name, _predict, (s,)) for s in one_of_each),
    *(Case("data: predict's options", " ".join(o), _options, (o,)) for o in OPTIONS),
    *(Case("data: large images", f"{k} of {LARGE}", _large, (k,)) for k in ("PNG", "JPEG", "BMP")),
    *bad_folders.cases(),
    *bad_caches.cases(),
  ]


def _folder(place: Path, sample: Sample) -> Path:
  """Makes a folder of two classes of 4 + 2 sound images, and one more that is the sample."""
  for split, count in (("train", 4), ("val", 2)):
    for name in ("ant", "bee"):
      (place / split / name).mkdir(parents=True)
      for i in range(count):
        (place / split / name / f"{i}.png").write_bytes(encode(Image.fromarray(pixels()), "PNG"))
  for split in ("train", "val"):
    (place / split / "ant" / "sample.png").write_bytes(sample.data)
  return place


@contextlib.contextmanager
def _without_cache() -> Iterator[None]:
  before = os.environ.get("CNNLAB_CACHE")
  os.environ["CNNLAB_CACHE"] = "off"
  try:
    yield
  finally:
    if before is None:
      del os.environ["CNNLAB_CACHE"]
    else:
      os.environ["CNNLAB_CACHE"] = before


@contextlib.contextmanager
def limited_memory(what: str, most: int = MOST_MEMORY) -> Iterator[None]:
  """Raises `Bad` if the process grows by more than `most` MB meanwhile."""
  Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
  before = _status("VmRSS")
  yield
  grown = _status("VmHWM") - before
  if grown > most:
    raise Bad("crash", f"{what} takes {grown} MB")


def _status(field: str) -> int:
  lines = Path("/proc/self/status").read_text().splitlines()
  return next(int(line.split()[1]) >> 10 for line in lines if line.startswith(field))


def _load(directory: Path, sample: Sample) -> str:
  from cnnlab import data
  from cnnlab.errors import DataError

  root = _folder(directory / "set", sample)
  for allowed in (1, 0):
    settings = data.DataSettings(name=f"folder:{root}", image_size=8, max_bad_images=allowed)
    try:
      with _without_cache(), limited_memory(sample.name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = data.load(settings, seed=0, batch_size=2, eval_batch_size=2)
    except DataError as error:
      _check_refusal(str(error), sample, allowed)
      return "refused"
    if found.train.num_examples == 9:
      _check_pixels(found.train.constants["image"][4], sample)
      return "success"
  raise Bad("lost", "an unreadable image was dropped uncounted")


def _check_refusal(message: str, sample: Sample, allowed: int) -> None:
  if allowed:
    raise Bad("unclear", f"one bad image is allowed: {message}")
  if sample.readable:
    raise Bad("unclear", f"a sound image is refused: {message}")
  if "ant/sample.png" not in message or "max_bad_images" not in message or len(message) > 1000:
    raise Bad("unclear", message)


def _check_pixels(image: np.ndarray, sample: Sample) -> None:
  if sample.readable is False:
    raise Bad("accepted", f"was read as pixels of mean {image.mean()}")
  if sample.mean is not None and abs(image.mean() - sample.mean) > 3:
    raise Bad("lost", f"pixels of mean {image.mean()} instead of {sample.mean}")


def _train(directory: Path, sample: Sample, *more: str) -> str:
  root = _folder(directory / "set", sample)
  result = command(
    "train", *TINY, f"--workdir={directory / 'run'}", f"--config.data.name=folder:{root}",
    "--config.data.image_size=8", *more,
  )  # fmt: skip
  return judge(result, ("ant/sample.png",), may_succeed=sample.readable is not False)


def _stream(directory: Path, sample: Sample) -> str:
  more = ("--config.data.placement=stream", "--config.data.workers=0", "--config.max_steps=2")
  return _train(directory, sample, *more)


@functools.cache
def _run_directory() -> str:
  """Returns a trained run, made once for each process."""
  place = kept_directory("run")
  judge(command("train", *TINY, f"--workdir={place / 'run'}"))
  return str(place / "run")


def _predict(directory: Path, sample: Sample) -> str:
  file = directory / "sample.png"
  file.write_bytes(sample.data)
  result = command("predict", f"--workdir={_run_directory()}", str(file))
  return judge(result, ("sample.png",), may_succeed=sample.readable is not False)


OPTIONS = (
  ("--top=0",), ("--top=-1",), ("--top=x",), ("--top=99999999999999999999",), ("--draw=/dev/null",),
  ("--draw=/dev/null/x",), ("--draw=",), ("/nowhere.png",), ("/",), ("/dev/zero",), ("",),
  ("\x1b[31m.png",), ("x" * 5000,), ("[bold].png",),
)  # fmt: skip


def _options(directory: Path, options: tuple[str, ...]) -> str:
  file = directory / "sound.png"
  file.write_bytes(encode(Image.fromarray(pixels()), "PNG"))
  result = command("predict", f"--workdir={_run_directory()}", str(file), *options)
  if "\x1b[31m.png" in result.err + result.out:
    raise Bad("unclear", f"terminal codes pass: {result.err!r}")
  return judge(result, may_succeed="9999" in options[0])


def _large(directory: Path, kind: str) -> str:
  from cnnlab.data.images import BadImage, decode

  file = directory / "large.png"
  Image.new("RGB", LARGE, (100, 100, 100)).save(
    file, kind, **({"quality": 50} if kind == "JPEG" else {})
  )
  try:
    with limited_memory(kind), warnings.catch_warnings(record=True) as warned:
      image = decode(str(file), (224, 224), 3)
  except BadImage as error:
    if "pixels" not in str(error):
      raise Bad("unclear", str(error)) from error
    return "refused"
  if warned:
    raise Bad("unclear", str(warned[0].message))
  if abs(image.mean() - 100) > 3:
    raise Bad("lost", f"mean {image.mean()}")
  return "success"
