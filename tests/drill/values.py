"""Every key of a config, every argument of a transform and every option of a model with nonsense.

Values go through Python's interface, as nan and the like cannot be typed on a command line. A case
that is accepted trains; for an option of a model, everything but the training itself is prepared.
"""

from __future__ import annotations

import dataclasses
import functools
import traceback
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnlab.annotations import describe_type
from cnnlab.data.mixing import MIXES
from cnnlab.data.settings import DataSettings
from cnnlab.data.transforms import TRANSFORMS
from cnnlab.errors import CnnlabError, DivergedError, ShapeError
from cnnlab.models import model_options
from cnnlab.models.ranges import DEEPEST, Depth
from cnnlab.tasks import TASKS
from cnnlab.train.optim import OPTIMIZERS, Group
from cnnlab.train.schedules import SCHEDULES
from cnnlab.train.settings import RunSettings
from tests.drill import pages
from tests.drill.cases import Bad, Case
from tests.drill.nonsense import KNOWN, KNOWN_MODELS, KNOWN_OF, may_succeed, values_for

LONGEST_MESSAGE = 2000
TIMEOUT = 60.0
SOURCE = "drill"  # a data set of few small images, which the case registers
# A small net of each family, and the side of the images that it takes.
NETS: dict[str, tuple[int, dict[str, Any]]] = {
  "alexnet": (64, {"width": 0.05, "hidden": (8,), "stem": "cifar"}),
  "all_cnn_a": (32, {"width": 0.05}),
  "googlenet": (64, {"width": 0.1, "modules": ("3a", "4a", "5a")}),
  "lenet5": (32, {}),
  "vgg11": (32, {"width": 0.05, "hidden": (8,), "grid": "native"}),
  "zfnet": (64, {"width": 0.05, "hidden": (8,), "stem": "cifar"}),
  "convnet": (8, {"features": (4, 4), "hidden": (8,)}),
  "densenet40_12": (16, {"blocks": (1, 1)}),
  "highway10_16": (16, {"stages": ((4,), (4,), (4,))}),
  "resnet18": (64, {"width": 0.05, "blocks": (1, 1, 1, 1)}),
  "resnet20": (16, {"blocks": 1}),
  "vit_ti_16": (32, {"depth": 1, "features": 12, "mlp_features": 12}),
}
# Pages of tasks that digits are no data of.
PAGES = {"segmentation": "configs/scenes.py:tiny"}
Overrides = Mapping[str, Any]


def cases() -> list[Case]:
  """Returns the cases of settings, transforms, models, pages and command lines."""
  return [*_settings(), *_known(), *_models(), *pages.cases()]


def _settings() -> Iterator[Case]:
  sections: list[tuple[str, type, Overrides]] = [
    ("", RunSettings, {}),
    ("data", DataSettings, {"data.workers": 0}),
    *(("task", task.Settings, {"task.name": name}) for name, task in TASKS.items()),
    *(("optim", cls, {"optim.name": name}) for name, cls in OPTIMIZERS.items()),
    *(("schedule", cls, {"schedule.name": name}) for name, cls in SCHEDULES.items()),
  ]
  seen = set()
  for section, cls, base in sections:
    for name, hint in _hints(cls).items():
      key = f"{section}.{name}" if section else name
      # A field that variants share is tried once.
      if (key, str(hint)) not in seen:
        seen.add((key, str(hint)))
        yield from _cases(
          section or "run", hint, lambda value, key=key, base=base: base | {key: value}
        )
  for table, key in ((TRANSFORMS, "data.transforms"), (MIXES, "data.mix")):
    for name, cls in table.items():
      for argument, hint in _hints(cls).items():
        yield from _cases(
          "transforms",
          hint,
          lambda value, key=key, name=name, argument=argument: {
            key: (f"{name}({argument}={value!r})",)
          },
        )
  for argument, hint in _hints(Group).items():
    yield from _cases(
      "groups",
      hint,
      lambda value, argument=argument: {
        "optim.groups": ({"pattern": "block1*"} | {argument: value},)
      },
    )


def _hints(cls: type) -> dict[str, Any]:
  hints = typing.get_type_hints(cls, include_extras=True)
  return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _cases(section: str, hint: Any, overrides: Callable[[Any], Overrides]) -> Iterator[Case]:
  for kind, value in values_for(hint):
    given = overrides(value)
    sane = may_succeed(value, hint) or (_takes_tuple(hint) and may_succeed((value,), hint))
    yield Case(f"{section}: {kind}", _named(given), _train, (given, sane), TIMEOUT)


def _takes_tuple(hint: Any) -> bool:
  return "tuple" in describe_type(hint)


def _known() -> Iterator[Case]:
  for base, key, values in [*(({}, *row) for row in KNOWN), *KNOWN_OF]:
    for value in values:
      given = base | {key: value}
      yield Case("known nonsense", _named(given), _train, (given, False), TIMEOUT)


def _models() -> Iterator[Case]:
  for net in NETS:
    for name, option in model_options(net).items():
      for kind, value in values_for(option.type, few=True):
        if option.type == Depth and value == DEEPEST:
          continue  # it is accepted, and takes half a minute to trace
        sane = may_succeed(value, option.type)
        named = f"{net}: {_shown(name, value)}"
        yield Case(f"models: {kind}", named, _prepare, (net, name, value, sane), TIMEOUT)
  for net, name, values in KNOWN_MODELS:
    for value in values:
      named = f"{net}: {_shown(name, value)}"
      yield Case("known nonsense", named, _prepare, (net, name, value, False), TIMEOUT)


def _named(overrides: Overrides) -> str:
  return ", ".join(_shown(key, value) for key, value in overrides.items())


def _shown(key: str, value: Any) -> str:
  text = repr(value)
  return f"{key}={text if len(text) < 80 else text[:60] + '...'}"


def _train(directory: Path, overrides: Overrides, sane: bool) -> str:
  from cnnlab.config import apply_overrides, load_page
  from cnnlab.train import train

  def run() -> None:
    page = load_page(PAGES.get(str(overrides.get("task.name")), "configs/digits.py:tiny"))
    page.max_steps = 1
    train(apply_overrides(page, overrides), directory / "run", asked=tuple(overrides))

  key, value = list(overrides.items())[-1]
  return _end(directory, run, (key.rpartition(".")[2], str(value)[:40]), sane)


def _prepare(directory: Path, net: str, option: str, value: Any, sane: bool) -> str:
  import jax
  from ml_collections import ConfigDict

  from cnnlab.config import load_page
  from cnnlab.train.setup import prepare
  from cnnlab.train.step import init_state, train_step

  _register()

  def run() -> None:
    config = load_page("configs/digits.py:tiny")
    config.batch_size = config.eval_batch_size = 4
    with config.unlocked():
      config.model = ConfigDict({"name": net} | NETS[net][1] | {option: value})
      config.data.name = f"{SOURCE}:{NETS[net][0]}"
      config.data.crop_padding = 0
    setup = prepare(config)
    constants, batch = setup.data.train.constants, next(setup.data.train.train_batches())
    state = jax.eval_shape(
      functools.partial(init_state, setup.program), constants, batch, setup.key
    )
    jax.eval_shape(functools.partial(train_step, setup.program), state, constants, batch, setup.key)

  return _end(
    directory, run, ("model" if option == "name" else option, "'model'", str(value)[:40]), sane
  )


def _end(directory: Path, run: Callable[[], Any], named: tuple[str, ...], sane: bool) -> str:
  """Returns how a run through Python's interface ended; a refusal has one of `named`."""
  try:
    run()
  except DivergedError:
    return "success"
  except CnnlabError as error:
    message = str(error)
    if (directory / "run").exists():
      raise Bad("wrote", message) from error
    # Sizes that do not fit each other may come from several keys: the sizes are named.
    sizes = isinstance(error, ShapeError)
    unnamed = not sizes and not any(text and text in message for text in named)
    if unnamed or len(message) > LONGEST_MESSAGE or len(message.splitlines()) > 12:
      raise Bad("unclear", message[-3000:]) from error
    return "refused"
  except BaseException as error:
    raise Bad("traceback", traceback.format_exc()[-3000:]) from error
  if not sane:
    raise Bad("accepted")
  return "success"


@functools.cache
def _register() -> None:
  import numpy as np

  from cnnlab.data import from_arrays, register_source

  def source(rest: str, settings: DataSettings) -> Any:
    side = int(rest)
    images, labels = np.zeros((20, side, side, 3), np.uint8), np.arange(20, dtype=np.int32) % 2
    return from_arrays(images, labels, class_names=("a", "b"))

  register_source(SOURCE, source)
