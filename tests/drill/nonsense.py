"""Values that make no sense, and which of them an annotation could still take."""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator
from typing import Any

from cnnlab.annotations import fit

NAN, INFINITY = math.nan, math.inf
HUGE = 10**30
LONG = "x" * 20_000

# kind -> values; every field gets all of them.
NONSENSE: dict[str, tuple[Any, ...]] = {
  "wrong type": (None, True, "abc", b"abc", 1.5, {"a": 1}, 1 + 2j),
  "nan": (NAN, (NAN,), (0.5, NAN)),
  "infinity": (INFINITY, -INFINITY, (INFINITY,)),
  "huge": (HUGE, -HUGE, (HUGE,), 1e300, 10**9),
  "small": (0, -1, -0.5, (-1,), (0, 0)),
  "empty": ("", (), {}, " "),
  "unicode": ("Größe 日本", "a\0b", "\udc80", "a\x1b[2J", "\u202egnp.a"),
  "long": (LONG, f"{LONG}/{LONG}", (1,) * 20_000),
  "nested": (((1,), [2]), [[[]]], (None,), ({"a": {"b": NAN}},), ("a",)),
}


# What the issue found, and its like: none of it makes sense in any run.
KNOWN: tuple[tuple[str, tuple[Any, ...]], ...] = (
  ("seed", (-1, HUGE, 2**32, "a")),
  ("batch_size", (0, -1, 10**9, HUGE)),
  ("eval_batch_size", (0, -1, HUGE)),
  ("epochs", (-1.0, 1e300, NAN, INFINITY)),
  ("max_steps", (-1, HUGE)),
  ("ema_decay", (-0.1, 1.0, 5.0, NAN)),
  ("accumulate", (0, -1, 10**9)),
  ("steps_per_call", (0, -1, HUGE)),
  ("log_every_steps", (0, -1, HUGE)),
  ("eval_every_epochs", (-1.0, NAN, 1e300)),
  ("checkpoint_every_epochs", (-1.0, NAN, 1e300)),
  ("checkpoint_every_steps", (-1, HUGE)),
  ("checkpoint_keep", (0, -1, HUGE)),
  ("dtype", ("int8", "")),
  ("native", ("on", "")),
  ("parallel", ("", "both")),
  ("init_from", (LONG, "a\0b", "/dev/null")),
  ("task.label_smoothing", (-0.1, 1.0, NAN)),
  ("task.auxiliary_weight", (-1.0, NAN, 1e300)),
  ("task.name", (None, 3, LONG)),
  ("data.name", (LONG, "", "folder:", "folder:" + LONG, "folder:a\0b", "tfds:" + LONG)),
  ("data.eval_fraction", (-1.0, 0.0, 1.0, 5.0, NAN)),
  ("data.train_examples", (-1, 10**9, HUGE)),
  ("data.eval_examples", (-1, 10**9, HUGE)),
  ("data.image_size", (-1, 100_000, 10**9, (0, 5), (8,), (8, 8, 8), (8, 10**6), HUGE)),
  ("data.resize", (-1, 100_000, 10**9, (0, 5), HUGE)),
  ("data.channels", (-1, 2, 10**9)),
  ("data.crop_padding", (-1, 10**9, HUGE)),
  ("data.workers", (-1, 5000, HUGE)),
  ("data.max_bad_images", (-1,)),
  ("data.pad_mode", ("", "wrap")),
  ("data.eval_crops", ("", "grid1000")),
  ("data.device_limit_mb", (-1, HUGE)),
  (
    "data.transforms",
    (
      "color(brightness=nan)",
      "color(brightness=1e999)",
      "color(brightness=-1)",
      "scale(low=1e-300, high=1e300)",
      "crop(padding=1000000000)",
      "random_resized_crop(area=1e-300)",
      "random_resized_crop(ratio=1e300)",
      "flip(",
      "",
      "(" * 5000,
      "flip()" * 1000,
      "flip(a=1, a=2)",
      "flip(**{'a': 1})",
      "a\0b",
    ),
  ),
  ("data.mix", ("mixup(alpha=nan)", "mixup(alpha=1e999)", "mixup(alpha=1e300)", "mixup(alpha=0)")),
  ("optim.learning_rate", (-1.0, 0.0, 1e300, NAN)),
  ("optim.reference_batch", (-1, HUGE)),
  ("optim.weight_decay", (-1.0, NAN, 1e300)),
  ("optim.clip_norm", (-1.0, NAN, INFINITY)),
  ("optim.momentum", (-1.0, 1.0, 5.0, NAN)),
  ("optim.groups", (({},), ("a",), ({"pattern": 3},), ({"pattern": "*", "rate": NAN},))),
  ("schedule.warmup_epochs", (-1.0, 1e9, NAN)),
  ("schedule.final_factor", (-1.0, NAN)),
)
KNOWN_OF = (
  ({"optim.name": "adam"}, "optim.b1", (-1.0, 1.0, 2.0, NAN)),
  ({"optim.name": "adam"}, "optim.b2", (-1.0, 1.0, 2.0, NAN)),
  ({"optim.name": "adam"}, "optim.eps", (-1.0, NAN, 1e300)),
  ({"optim.name": "rmsprop"}, "optim.decay", (-1.0, 2.0, NAN)),
  ({"schedule.name": "step"}, "schedule.boundaries", (("a",), (NAN,), (2.0,), (-1.0,), (0.9, 0.1))),
  ({"schedule.name": "step"}, "schedule.factor", (-1.0, NAN, 1e300)),
  ({"schedule.name": "plateau"}, "schedule.factor", (-1.0, NAN, 5.0)),
  ({"schedule.name": "plateau"}, "schedule.patience", (-1, 0, HUGE)),
)
KNOWN_MODELS = (
  ("convnet", "features", ((-1,), (0,), (10**6, 10**6), (HUGE,))),
  ("convnet", "num_classes", (0, -1, 10**9, HUGE)),
  ("convnet", "kernel_size", (0, -1)),
  ("convnet", "dropout", (2.0, 1.0, -0.5)),
  ("convnet", "width", (0.0, -1.0, 1e300)),
  ("convnet", "norm", ("", "norm", LONG)),
  ("convnet", "dtype", ("", "int8", "float99")),
  ("convnet", "name", (None, 3, LONG)),
  ("densenet40_12", "growth_rate", (0, -1, 10**9)),
  ("densenet40_12", "compression", (0.0, -1.0, 2.0)),
  ("resnet20", "survival", (-1.0, 2.0)),
  ("resnet20", "blocks", (0, -1, 10**9)),
  ("vit_ti_16", "heads", (0, -1, 10**9)),
  ("vit_ti_16", "depth", (-1, 10**9)),
  ("lenet5", "padding", (-1, 10**9)),
)


def values_for(hint: Any, few: bool = False) -> Iterator[tuple[str, Any]]:
  """Yields (kind, value): nonsense for any field, and values at and past the declared limits.

  Args:
    hint: the field's annotation.
    few: one value alone of each kind that has nothing to do with size.
  """
  for kind, values in NONSENSE.items():
    for value in values if not few or kind in ("huge", "small") else values[:1]:
      yield kind, value
  for low, high in _limits(hint):
    for end, step in ((low, -1), (high, 1)):
      if end is not None:
        yield "limits", end
        beyond = end + step
        yield "limits", beyond if beyond != end else end * 2


def may_succeed(value: Any, hint: Any) -> bool:
  """Returns whether success with a value is no scandal: its type fits, and all of it is sane."""
  return fit(value, hint)[1] and _sane(value)


def _sane(value: Any) -> bool:
  if isinstance(value, float):
    return math.isfinite(value)
  if isinstance(value, int):
    return abs(value) < 2**63
  if isinstance(value, str):
    return "\0" not in value and len(value) < 10_000
  if isinstance(value, dict):
    return all(map(_sane, value.values()))
  return all(map(_sane, value)) if isinstance(value, (list, tuple)) else True


def _limits(hint: Any) -> Iterator[tuple[Any, Any]]:
  """Yields (low, high) of every range that an annotation holds."""
  for part in getattr(hint, "__metadata__", ()):
    if hasattr(part, "low"):
      yield part.low, part.high
  for part in typing.get_args(hint):
    yield from _limits(part)
