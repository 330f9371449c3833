"""What each variant was trained with, read from the configs of its runs: the recipe of a report.

The configs are the resolved ones, with the values that were derived from them, so that a report
shows the learning rate that was used and not the one that was asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from cnnlab.config import flatten, upgrade_saved
from cnnlab.errors import RunError
from cnnlab.lab.report import wording
from cnnlab.runs.directory import PLACES, read_json
from cnnlab.types import JsonMapping

Flat = dict[str, object]


class Recipe(NamedTuple):
  """The recipe of all variants.

  Attributes:
    shared: {subject: what all variants have}.
    own: {subject: {variant: what it has}} where variants differ.
    unknown: variants without a readable config.
  """

  shared: dict[str, str]
  own: dict[str, dict[str, str]]
  unknown: tuple[str, ...]


def read(sweep: Path, runs: pd.DataFrame) -> Recipe:
  """Returns what the runs of a sweep were trained with; of each variant one run speaks for all.

  Args:
    sweep: the sweep's directory.
    runs: the table of `results.collect`.
  """
  configs: dict[str, Flat] = {}
  usable = runs[~runs["status"].isin(("missing", "damaged", "other config"))]
  for row in usable.to_dict("records"):
    label = str(row["variant"])
    if label not in configs:
      try:
        saved = read_json(sweep / str(row["directory"]) / "config.json")
      except RunError:
        continue
      configs[label] = flatten(upgrade_saved(saved))
  unknown = tuple(x for x in dict.fromkeys(runs["variant"]) if x not in configs)
  shared, own = _compare({label: describe(config) for label, config in configs.items()})
  options, differing = _compare({label: _options(config) for label, config in configs.items()})
  if options:
    shared["network options"] = ", ".join(f"{key} {text}" for key, text in options.items())
  further = {label: _further(config) for label, config in configs.items()}
  own |= differing | _compare(further)[1]
  return Recipe(shared, own, unknown)


def _compare(
  described: dict[str, dict[str, str]],
) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
  """Returns {subject: text} where all variants agree, and {subject: {variant: text}} elsewhere."""
  shared: dict[str, str] = {}
  own: dict[str, dict[str, str]] = {}
  for subject in dict.fromkeys(subject for found in described.values() for subject in found):
    texts = {label: found.get(subject, "–") for label, found in described.items()}
    if len(set(texts.values())) == 1:
      shared[subject] = next(iter(texts.values()))
    else:
      own[subject] = texts
  return shared, own


def describe(config: JsonMapping) -> dict[str, str]:
  """Returns {subject: text} of a flat config; subjects of which it says nothing are left out."""
  texts = {subject: write(config) for subject, write in _SUBJECTS.items()}
  return {subject: text for subject, text in texts.items() if text}


def _options(config: JsonMapping) -> dict[str, str]:
  """Returns the options of the network, without its name."""
  keys = [key for key in config if key.startswith("model.") and key != "model.name"]
  return {key.partition(".")[2]: _text(config[key]) for key in keys}


def _further(config: JsonMapping) -> dict[str, str]:
  """Returns the keys that no subject shows."""
  told = ("derived.", "model.", "optim.", "schedule.", "task.")
  keys = [k for k in sorted(config) if not k.startswith(told) and k not in (*PLACES, *_TOLD)]
  return {key: _text(config[key]) for key in keys}


def _network(config: JsonMapping) -> str:
  return str(config.get("model.name") or "")


def _examples(config: JsonMapping) -> str:
  train, test = (config.get(f"derived.{split}_examples") for split in ("train", "eval"))
  shape = config.get("derived.image_shape")
  name = wording.data_name(str(config.get("data.name") or ""))
  parts = [f"{train:,} training and {test:,} test examples" if train and test else ""]
  parts += ["x".join(map(str, shape)) if isinstance(shape, list) else ""]
  held = config.get("data.validation")
  parts += [
    f"{100 * held:g} % of the training set held out" if isinstance(held, float) and held else ""
  ]
  return ", ".join(part for part in (name, *parts) if part)


def _preprocessing(config: JsonMapping) -> str:
  names = {"data.centering": "centering by", "data.scale": "scale by", "data.resize": "resize to"}
  return _words(config, names)


def _augmentation(config: JsonMapping) -> str:
  if not any(key in config for key in ("data.crop_padding", "data.flip", "data.transforms")):
    return ""
  padding = config.get("data.crop_padding")
  parts = [f"random crops, padding {padding} ({config.get('data.pad_mode')})" if padding else ""]
  parts += ["random flips" if config.get("data.flip") else ""]
  for key in ("data.transforms", "data.mix"):
    given = config.get(key)
    parts += [_text(given) if given else ""]
  return ", ".join(part for part in parts if part) or "none"


def _length(config: JsonMapping) -> str:
  steps, epochs = config.get("derived.total_steps"), config.get("epochs")
  per_epoch = config.get("derived.steps_per_epoch")
  if isinstance(steps, int) and isinstance(per_epoch, int) and per_epoch:
    return f"{steps / per_epoch:.4g} epochs, {steps:,} steps"
  return f"{epochs:g} epochs" if isinstance(epochs, (int, float)) else ""


def _batch(config: JsonMapping) -> str:
  size, parts = config.get("batch_size"), config.get("accumulate", 1)
  if not size:
    return ""
  return f"{size}, in {parts} parts" if parts != 1 else str(size)


def _optimizer(config: JsonMapping) -> str:
  name = str(config.get("optim.name") or "")
  keys = {
    "sgd": ("momentum", "nesterov"),
    "adam": ("b1", "b2", "eps"),
    "adamw": ("b1", "b2", "eps"),
    "rmsprop": ("decay", "momentum", "eps"),
  }.get(name, ("momentum", "b1", "b2", "eps", "decay"))
  shown = [
    f"{key} {_text(config.get(f'optim.{key}'))}" for key in keys if config.get(f"optim.{key}")
  ]
  for key, word in (("clip_norm", "gradient norm up to"), ("groups", "groups")):
    value = config.get(f"optim.{key}")
    shown += [f"{word} {_text(value)}"] if value else []
  return ", ".join([name, *shown] if name else shown)


def _rate(config: JsonMapping) -> str:
  used, asked = config.get("derived.learning_rate"), config.get("optim.learning_rate")
  if used is None or used == asked:
    return _text(asked) if asked is not None else ""
  return (
    f"{_text(used)} ({_text(asked)} for batches of {_text(config.get('optim.reference_batch'))})"
  )


def _weight_decay(config: JsonMapping) -> str:
  value = config.get("optim.weight_decay")
  if value is None:
    return ""
  what = {True: "all parameters", False: "weights only"}.get(
    bool(config.get("optim.decay_all")), ""
  )
  return f"{_text(value)}, {what}" if value and "optim.decay_all" in config else _text(value)


def _schedule(config: JsonMapping) -> str:
  name = str(config.get("schedule.name") or "")
  shown = {
    "step": ("boundaries", "factor"),
    "cosine": ("final_factor",),
    "plateau": ("factor", "patience"),
  }.get(name, ())
  parts = [f"{key.replace('_', ' ')} {_text(config.get(f'schedule.{key}'))}" for key in shown
           if config.get(f"schedule.{key}")]  # fmt: skip
  warmup = config.get("derived.warmup_steps")
  parts += [f"warm-up of {warmup} steps"] if warmup else []
  return ", ".join([name, *parts] if name else parts)


def _loss(config: JsonMapping) -> str:
  options = {k.partition(".")[2]: v for k, v in config.items() if k.startswith("task.")}
  name = str(options.pop("name", ""))
  told = ", ".join(f"{key.replace('_', ' ')} {_text(v)}" for key, v in options.items() if v)
  return f"{name} ({told})" if told and name else name


def _averaging(config: JsonMapping) -> str:
  value = config.get("ema_decay")
  return f"exponential average, decay {_text(value)}" if value else ""


def _precision(config: JsonMapping) -> str:
  return str(config.get("dtype") or "")


def _words(config: JsonMapping, names: dict[str, str]) -> str:
  return ", ".join(f"{word} {_text(config[key])}" for key, word in names.items() if config.get(key))


_SUBJECTS: dict[str, Callable[[JsonMapping], str]] = {
  "network": _network,
  "task": _loss,
  "data": _examples,
  "input": _preprocessing,
  "augmentation": _augmentation,
  "batch size": _batch,
  "length": _length,
  "optimizer": _optimizer,
  "learning rate": _rate,
  "schedule": _schedule,
  "weight decay": _weight_decay,
  "evaluated weights": _averaging,
  "precision": _precision,
}
_TOLD = (
  "batch_size", "accumulate", "epochs", "max_steps", "ema_decay", "dtype", "seed", "data.name",
  "data.centering", "data.scale", "data.resize", "data.crop_padding", "data.pad_mode", "data.flip",
  "data.transforms", "data.mix", "data.validation", "task.name",
)  # fmt: skip


def _text(value: object) -> str:
  if isinstance(value, bool):
    return "yes" if value else "no"
  if isinstance(value, float):
    return f"{value:g}"
  if isinstance(value, (list, tuple)):
    return ", ".join(map(_text, value))
  return "–" if value is None else str(value)
