"""Are a sweep's variants really different? Each one's set-up is traced before anything trains.

Two variants whose lowered programs (initialisation, training step, evaluation step, all traced
scalars included), data and plan are the same would give the same curves, bit for bit: the knob
that is meant to distinguish them is not wired to anything. Nothing is compiled or computed, and
no accelerator is touched: programs are lowered for the CPU in processes of their own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ml_collections import ConfigDict

from cnnlab.config import to_plain
from cnnlab.data.cache import cached
from cnnlab.errors import CnnlabError
from cnnlab.lab.plan import RunSpec, resolve

if TYPE_CHECKING:
  from cnnlab.train.setup import Setup

_PACKAGE = Path(__file__).resolve().parents[1]


class Examined(NamedTuple):
  """What a variant would train, found without training.

  Attributes:
    label: the variant.
    fingerprint: equal for two variants that would give the same curves; empty after an error.
    images: how many training images a run sees, repetitions counted.
    multiply_adds: of one image's forward pass.
    error: why it cannot be set up; empty where all is well.
  """

  label: str
  fingerprint: str = ""
  images: int = 0
  multiply_adds: int = 0
  error: str = ""


class Unwired(NamedTuple):
  """Variants that train the same, and what they set differently to no effect."""

  labels: tuple[str, ...]
  knobs: dict[str, list[Any]]

  def __str__(self) -> str:
    names = ", ".join(repr(label) for label in self.labels)
    knobs = "; ".join(f"{key} = {', '.join(map(repr, v))}" for key, v in self.knobs.items())
    return f"{names} train the same step on the same data: {knobs or 'they set the same'}"


def examine(specs: Sequence[RunSpec], workers: int | None = None) -> list[Examined]:
  """Returns what each variant of a plan would train, all with the plan's first seed.

  Results are cached by config and source code: a sweep that is started again asks nothing twice.

  Args:
    specs: from `cnnlab.lab.plan.plan`.
    workers: processes; 0 does it in this one; None chooses by the number of cores.
  """
  first = {spec.label: spec for spec in reversed(specs) if spec.seed == specs[0].seed}
  chosen = [first[label] for label in dict.fromkeys(spec.label for spec in specs)]
  known = {spec.label: _remembered(spec) for spec in chosen}
  asked = [spec for spec in chosen if known[spec.label] is None]
  tasks = [(spec.label, spec.config, dict(spec.overrides)) for spec in asked]
  workers = min(os.cpu_count() or 1 if workers is None else workers, len(tasks))
  if workers:
    with ProcessPoolExecutor(workers, get_context("spawn"), initializer=_stay_on_cpu) as pool:
      found = list(pool.map(_examine, tasks))
  else:
    found = [_examine(task) for task in tasks]
  known |= {one.label: one for one in found}
  return [one for one in known.values() if one is not None]


def unwired(examined: Iterable[Examined], specs: Sequence[RunSpec]) -> list[Unwired]:
  """Returns the groups of variants that would train the same."""
  groups: dict[str, list[str]] = {}
  for one in examined:
    if one.fingerprint:
      groups.setdefault(one.fingerprint, []).append(one.label)
  settings = {spec.label: dict(spec.overrides) for spec in specs}
  return [
    Unwired(tuple(labels), _differing([settings[label] for label in labels]))
    for labels in groups.values()
    if len(labels) > 1
  ]


def fingerprint(setup: Setup, init_from: str = "") -> str:
  """Returns a hash of all that decides a run's curves.

  That is the lowered programs, what the data section resolves to (examples, their order, the
  arrays of the preprocessing), when training ends and evaluation happens, and where the weights
  come from if not from the seed. A streamed set's images are not read: the set's name stands
  for them.
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
  plan, data = setup.plan, setup.resolved["data"]
  about = {
    "counts": [split.num_examples for split in splits.values()],
    "order": [setup.resolved["seed"], setup.resolved["batch_size"]],
    "preprocess": setup.data.preprocess.settings(),
    "plan": [plan.total_steps, plan.eval_every],
    "init_from": init_from,
    "streamed": {} if setup.data.train.constants else data,
  }
  digest.update(json.dumps(about, sort_keys=True).encode())
  return digest.hexdigest()


def _programs(setup: Setup) -> Iterable[str]:
  """Yields the text of the initialisation, the training step and the evaluation step."""
  import jax

  from cnnlab.train.step import evaluation_zeros

  def shapes(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), tree)

  def text(traced: Any) -> str:
    # Arrays that a program closes over may be printed by shape alone.
    constants = [repr(jax.tree.map(lambda leaf: leaf.tolist(), c)) for c in traced.jaxpr.consts]
    return traced.lower().as_text() + "".join(constants)

  program, data = setup.program, setup.data
  parallel: Any = setup.parallel  # its compiled functions can be traced
  constants, eval_constants = shapes(data.train.constants), shapes(data.eval.constants)
  batch = shapes(next(data.train.train_batches(0)))
  init = parallel.init(program).trace(constants, batch, setup.key)
  yield text(init)
  state = init.out_info
  yield text(parallel.train(program).trace(state, constants, batch, setup.key))
  eval_batch = shapes(next(data.eval.eval_batches()))
  sums = shapes(evaluation_zeros(program, state, eval_constants, eval_batch))
  yield text(parallel.evaluate(program).trace(state, eval_constants, eval_batch, sums))


def _differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
  keys = dict.fromkeys(key for given in settings for key in given)
  values = {key: [given.get(key, "unset") for given in settings] for key in keys}
  return {key: found for key, found in values.items() if any(v != found[0] for v in found)}


def _examine(task: tuple[str, str, dict[str, Any]]) -> Examined:
  label, page, overrides = task
  try:
    config = resolve({"config": page, "overrides": overrides})
    found = cached(_key(config), lambda: ({}, _measure(config, overrides)))[1]
  except CnnlabError as error:
    return Examined(label, error=f"{type(error).__name__}: {error}")
  return Examined(label, **found)


class _Unknown(Exception):
  """The cache does not know the answer."""


def _remembered(spec: RunSpec) -> Examined | None:
  """Returns what an earlier session found of the same config and code; JAX is not needed."""

  def ask() -> Any:
    raise _Unknown

  try:
    return Examined(spec.label, **cached(_key(resolve(spec)), ask)[1])
  except (_Unknown, CnnlabError):
    return None


def _key(config: ConfigDict) -> list[Any]:
  """Returns all that an examination depends on, but for data that change in their place."""
  return ["wiring", to_plain(config), _code(), version("jax"), os.environ.get("XLA_FLAGS")]


@functools.cache
def _code() -> str:
  digest = hashlib.sha256()
  for path in sorted(_PACKAGE.rglob("*.py")):
    digest.update(path.read_bytes())
  return digest.hexdigest()


def _measure(config: ConfigDict, overrides: Mapping[str, Any]) -> dict[str, Any]:
  from cnnlab.train.setup import prepare

  setup = prepare(config, overrides)
  try:
    return {
      "fingerprint": fingerprint(setup, config.get("init_from", "")),
      "images": setup.plan.total_steps * setup.resolved["batch_size"],
      "multiply_adds": setup.resolved["derived"]["multiply_adds"],
    }
  finally:
    setup.data.close()


def _stay_on_cpu() -> None:
  os.environ["JAX_PLATFORMS"] = "cpu"
