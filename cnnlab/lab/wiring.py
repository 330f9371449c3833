"""Checks before a sweep that its variants really differ, by tracing what each would train.

An override is wired if it changes what is trained. Two variants with the same lowered programs
(initialization, training step and evaluation step, with all traced scalars), the same data and the
same length of training would give identical curves: the override that distinguishes them is not
wired. Nothing is compiled or computed and no accelerator is used; the programs are lowered for the
CPU in separate processes.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ml_collections import ConfigDict

from cnnlab.config import to_plain
from cnnlab.data.cache import cached, stored
from cnnlab.errors import CnnlabError, ConfigError
from cnnlab.imports import code_digest
from cnnlab.lab.helpers import in_helpers
from cnnlab.lab.outputs import NEARLY, initial_outputs, relative_difference
from cnnlab.lab.plan import RunSpec, resolve
from cnnlab.lab.variants import Overrides
from cnnlab.terminal import log_to_stderr
from cnnlab.types import Json, JsonMapping, PyTree

if TYPE_CHECKING:
  from jax.stages import Traced, Wrapped

  from cnnlab.train.setup import Setup

_PACKAGE = Path(__file__).resolve().parents[1]


class Examined(NamedTuple):
  """What a variant would train, determined without training.

  Attributes:
    label: the variant.
    fingerprint: equal for two variants that would give the same curves; empty after an error.
    images: number of training images that a run sees, including repetitions.
    eval_images: number of images that its evaluations see, all together.
    multiply_adds: multiply-adds of one image's forward pass.
    outputs: of the untrained net; see `cnnlab.lab.outputs`.
    metrics: what the task measures, as `cnnlab.metrics.to_json` writes it.
    error: why the variant cannot be set up; empty if it can.
  """

  label: str
  fingerprint: str = ""
  images: int = 0
  eval_images: int = 0
  multiply_adds: int = 0
  outputs: Sequence[float] = ()
  metrics: Json = {}
  error: str = ""


class Unwired(NamedTuple):
  """Variants that would train identically.

  Attributes:
    labels: the variants.
    knobs: {dotted.config.key: its value in each variant} of the overrides without effect.
  """

  labels: tuple[str, ...]
  knobs: dict[str, list[object]]

  def __str__(self) -> str:
    names = ", ".join(repr(label) for label in self.labels)
    knobs = "; ".join(f"{key} = {', '.join(map(repr, v))}" for key, v in self.knobs.items())
    reason = f"these overrides have no effect: {knobs}" if knobs else "they set the same overrides"
    return f"{names} would train identically; {reason}"


def examine(specs: Sequence[RunSpec], workers: int | None = None) -> list[Examined]:
  """Returns what each variant of a plan would train with the plan's first seed.

  Results are cached by config and source code, so restarting a sweep does not repeat the work.

  Args:
    specs: the plan, from `cnnlab.lab.plan.plan`.
    workers: number of processes; 0 uses this process; None uses one for each core.
  """
  first = {spec.label: spec for spec in reversed(specs) if spec.seed == specs[0].seed}
  chosen = [first[label] for label in dict.fromkeys(spec.label for spec in specs)]
  known = {spec.label: _remembered(spec) for spec in chosen}
  asked = [spec for spec in chosen if known[spec.label] is None]
  tasks = [(spec.label, spec.config, dict(spec.overrides)) for spec in asked]
  workers = min(os.cpu_count() or 1 if workers is None else workers, len(tasks))
  if workers:
    found = in_helpers(_examine, [(task,) for task in tasks], workers, _stay_on_cpu)
  else:
    found = [_examine(task) for task in tasks]
  known |= {one.label: one for one in found}
  return [one for one in known.values() if one is not None]


def check_settings(specs: Iterable[JsonMapping]) -> None:
  """Checks the settings of runs, as far as this can be done without their data.

  Args:
    specs: `RunSpec.to_dict()` of each.

  Raises:
    ConfigError: a value that cannot be used; the message names the run.
  """
  from cnnlab.train.settings import Settings

  for spec in specs:
    try:
      Settings.read(resolve(spec))
    except ConfigError as error:
      raise ConfigError(f"{spec['name']}: {error}") from error


def unwired(examined: Iterable[Examined], specs: Sequence[RunSpec]) -> list[Unwired]:
  """Returns the groups of variants that would train identically."""
  groups: dict[str, list[str]] = {}
  for one in examined:
    if one.fingerprint:
      groups.setdefault(one.fingerprint, []).append(one.label)
  settings = {spec.label: dict(spec.overrides) for spec in specs}
  return [
    Unwired(tuple(labels), differing([settings[label] for label in labels]))
    for labels in groups.values()
    if len(labels) > 1
  ]


def nearly_same(examined: Iterable[Examined], specs: Sequence[RunSpec], base: str) -> list[str]:
  """Returns a sentence on each variant whose untrained net returns almost what the base's returns.

  Only variants that differ from the base in keys of `model` are compared.
  """
  settings = {spec.label: dict(spec.overrides) for spec in specs}
  outputs = {one.label: list(one.outputs) for one in examined}
  sentences = []
  for label in outputs.keys() & settings.keys() - {base} if base in settings else ():
    knobs = differing([settings[base], settings[label]])
    share = relative_difference(outputs[label], outputs.get(base, []))
    if share < NEARLY and all(key.startswith("model.") for key in knobs):
      keys = ", ".join(sorted(knobs))
      sentences.append(
        f"the outputs of {label!r} and of {base!r} differ by {share:.2g} of their size before any "
        f"training: {keys} hardly changes the net"
      )
  return sorted(sentences)


def fingerprint(setup: Setup, init_from: str = "") -> str:
  """Returns a hash of everything that determines a run's curves.

  It covers the lowered programs, the data (examples, their order, the arrays of the preprocessing),
  when training ends and evaluations happen, and the source of the initial weights. The images of a
  streamed data set are not read; its settings represent them.
  """
  digest = hashlib.sha256()
  for program in _programs(setup):
    digest.update(program.encode())
  splits = {"train": setup.data.train, "eval": setup.data.eval}
  for name, split in splits.items():
    for key, array in split.constants.items():
      digest.update(f"{name} {key} {array.shape} {array.dtype}".encode())
      digest.update(array.data)
  for key, array in setup.data.preprocess.arrays().items():
    digest.update(key.encode() + array.tobytes())
  length, data = setup.plan, setup.resolved["data"]
  about = {
    "counts": [split.num_examples for split in splits.values()],
    "order": [setup.resolved["seed"], setup.resolved["batch_size"]],
    "preprocess": setup.data.preprocess.settings(),
    "plan": [length.total_steps, length.eval_every],
    "init_from": (init_from, "new head") if setup.new_head else init_from,
    "streamed": {} if setup.data.train.constants else data,
  }
  digest.update(json.dumps(about, sort_keys=True).encode())
  return digest.hexdigest()


def _programs(setup: Setup) -> Iterable[str]:
  """Yields the text of the initialization, the training step and the evaluation step."""
  import jax

  from cnnlab.train.step import evaluation_zeros

  def shapes(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)

  def text(traced: Traced) -> str:
    # The text of a program may show only the shapes of the arrays that it closes over.
    constants = [repr(jax.tree.map(lambda leaf: leaf.tolist(), c)) for c in traced.jaxpr.consts]
    return traced.lower().as_text() + "".join(constants)

  def trace(compiled: Callable, *args: PyTree) -> Traced:
    return cast("Wrapped", compiled).trace(*args)

  program, data, parallel = setup.program, setup.data, setup.parallel
  constants, eval_constants = shapes(data.train.constants), shapes(data.eval.constants)
  batch = shapes(next(data.train.train_batches(0)))
  init = trace(parallel.init(program), constants, batch, setup.key)
  yield text(init)
  state = init.out_info
  yield text(trace(parallel.train(program), state, constants, batch, setup.key))
  eval_batch = shapes(next(data.eval.eval_batches()))
  sums = shapes(evaluation_zeros(program, state, eval_constants, eval_batch))
  yield text(trace(parallel.evaluate(program), state, eval_constants, eval_batch, sums))


def differing(settings: Sequence[Overrides]) -> dict[str, list[object]]:
  """Returns {dotted.config.key: its value in each} of the keys in which overrides differ."""
  keys = dict.fromkeys(key for given in settings for key in given)
  values = {key: [given.get(key, "unset") for given in settings] for key in keys}
  return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def _examine(task: tuple[str, str, Overrides]) -> Examined:
  label, page, overrides = task
  try:
    config = resolve({"config": page, "overrides": overrides})
    found = cached(_key(config), lambda: ({}, _measure(config, overrides)))[1]
  except CnnlabError as error:
    return Examined(label, error=f"{type(error).__name__}: {error}")
  return Examined(label, **found)


def _remembered(spec: RunSpec) -> Examined | None:
  """Returns the cached result for the same config and code, or None; does not import JAX."""
  try:
    entry = stored(_key(resolve(spec)))
  except CnnlabError:
    return None
  return None if entry is None else Examined(spec.label, **entry[1])


def _key(config: ConfigDict) -> list[object]:
  """Returns all that the result depends on, except for changes to the files of the data."""
  code = [_code(), code_digest(config.imports)]
  return ["wiring", to_plain(config), code, version("jax"), os.environ.get("XLA_FLAGS")]


@functools.cache
def _code() -> str:
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob("*.py")):
    digest.update(path.read_bytes())
  return digest.hexdigest()


def _measure(config: ConfigDict, overrides: Overrides) -> Json:
  from cnnlab.train.setup import prepare

  setup = prepare(config, overrides)
  try:
    derived, total = setup.resolved["derived"], setup.plan.total_steps
    evaluations = sum(setup.plan.evaluates(step) for step in range(1, total + 1))
    trainset = setup.data.train.num_examples if config.eval_trainset else 0
    return {
      "fingerprint": fingerprint(setup, config.get("init_from", "")),
      "images": total * setup.resolved["batch_size"],
      "eval_images": evaluations * setup.data.eval.num_examples + trainset,
      "multiply_adds": derived["multiply_adds"],
      "outputs": initial_outputs(setup),
      "metrics": derived["metrics"],
    }
  finally:
    setup.data.close()


def _stay_on_cpu() -> None:
  os.environ["JAX_PLATFORMS"] = "cpu"
  log_to_stderr()
