"""Starting from another run's weights, whole or below a prefix; only head and field may differ."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import traverse_util

from cnnlab.errors import RunError
from cnnlab.runs import checkpoint
from cnnlab.train.setup import Setup, variable_shapes
from cnnlab.train.state import State
from cnnlab.weights.positions import POSITIONS, resizable, resized

log = logging.getLogger(__name__)

HEAD = "head"  # a part of the path of every classifier's parameters
HIDDEN = {"fc6", "fc7"}  # AlexNet's and VGG's, which belong to the classifier, not to an encoder
FIELD = "crf"  # that of a random field on top of a network
SHOWN = 8  # names in a message

ParameterPath = tuple[str, ...]
Leaves = dict[ParameterPath, Any]


class Mapped(NamedTuple):
  """Which of the two networks' parts correspond.

  Attributes:
    here: prefix in this network, such as ('encoder',); () is all of it.
    there: prefix in the network that the weights come from.
    taken: {path here: path there} of the weights that fit.
  """

  here: ParameterPath
  there: ParameterPath
  taken: dict[ParameterPath, ParameterPath]


def refuse_bad_start(setup: Setup, workdir: str | Path) -> None:
  """Checks a run's `init_from` before anything is written, unless the run has a checkpoint already.

  Raises:
    RunError: as of `start_from`.
  """
  if not setup.init_from or checkpoint.checkpoint_steps(Path(workdir)):
    return
  program, shape = setup.program, setup.data.image_shape
  wanted = _leaves(variable_shapes(program.model, shape, program.task))
  source = _source(setup.init_from, wanted, shape)
  _refuse_differences(setup.init_from, _map(source, wanted), source, wanted)


def start_from(directory: str, state: State, *, new_head: bool = False) -> State:
  """Returns a fresh state with the weights of a run or checkpoint.

  Paths and shapes are compared as they are, or with the prefix of one network left out, so that a
  classifier's weights start the encoder of a larger network and the other way round. Within the
  corresponding parts, only the head and a random field may differ; what lies outside of them here
  is made anew. Batch norm's scale and bias are found whether they are parameters or frozen, so that
  a network may continue with norm='frozen_batch'. Averaged weights are preferred where the run has
  them. The position embedding of a Vision Transformer is resized to another number of patches.

  Args:
    directory: a run's or a checkpoint's, such as `cnnlab convert` writes.
    state: of step 0.
    new_head: make the head anew even if its shape fits.

  Raises:
    RunError: there is no checkpoint, nothing fits, or something other than the head differs.
  """
  target = {"params": state.params, **state.model_state}
  wanted = _leaves(target)
  source = _source(directory, wanted)
  mapped = _map(source, wanted)
  _refuse_differences(directory, mapped, source, wanted)
  if new_head:
    kept = {here: there for here, there in mapped.taken.items() if HEAD not in here}
    mapped = mapped._replace(taken=kept)
  _log(directory, mapped, source, wanted)
  taken = _filled(target, {here: source[there] for here, there in mapped.taken.items()})
  params = taken.pop("params")
  # A copy, since a training step takes over the memory of both.
  ema = _filled({"params": params}, {})["params"] if state.ema else state.ema
  return state.replace(params=params, model_state=taken, ema=ema)


def _source(directory: str, wanted: Leaves, image_shape: tuple[int, ...] = ()) -> Leaves:
  """Returns the weights of a run, position embeddings resized to the number that is wanted.

  Those of images that are not square stay as they are, and are refused.
  """
  restored = checkpoint.restore(Path(directory))
  source = _leaves(checkpoint.variables_of(restored["state"]))
  there = restored["about"]["config"].get("derived", {}).get("image_shape", ())
  if any(len({*shape[:2]}) > 1 for shape in (image_shape, there)):
    return source
  sizes = {path[-1]: leaf.shape for path, leaf in wanted.items() if path[-1] == POSITIONS}
  for path, leaf in source.items():
    shape = sizes.get(path[-1])
    if shape is not None and resizable(leaf.shape, shape):
      source[path] = resized(leaf, shape)
  return source


def _map(source: Leaves, wanted: Leaves) -> Mapped:
  """Returns the pair of prefixes under which most weights fit; none at all is preferred."""
  here_prefixes: list[ParameterPath] = [(), *_modules(wanted)]
  there_prefixes: list[ParameterPath] = [(), *_modules(source)]
  pairs = [(here, ()) for here in here_prefixes] + [((), there) for there in there_prefixes[1:]]
  candidates = [Mapped(here, there, _fitting(source, wanted, here, there)) for here, there in pairs]
  return max(candidates, key=lambda mapped: len(mapped.taken))


def _modules(leaves: Iterable[ParameterPath]) -> list[ParameterPath]:
  return [(name,) for name in dict.fromkeys(path[0] for path in leaves if len(path) > 1)]


def _fitting(
  source: Leaves, wanted: Leaves, here: ParameterPath, there: ParameterPath
) -> dict[ParameterPath, ParameterPath]:
  pairs = {p: there + p[len(here) :] for p in wanted if p[: len(here)] == here}
  return {p: q for p, q in pairs.items() if _shape(source.get(q)) == _shape(wanted[p])}


def _refuse_differences(directory: str, mapped: Mapped, source: Leaves, wanted: Leaves) -> None:
  here, there = mapped.here, mapped.there
  pairs = {p: there + p[len(here) :] for p in wanted if p[: len(here)] == here}
  used = set(pairs.values())
  pairs |= {here + q[len(there) :]: q for q in source if q[: len(there)] == there and q not in used}
  # An encoder has none of them to give.
  may_differ = {HEAD, FIELD} | (HIDDEN if here or not any(HIDDEN & {*q} for q in source) else set())
  differing = [p for p in pairs if p not in mapped.taken and not may_differ & {*p}]
  if differing or not mapped.taken:
    named = sorted(
      f"{'/'.join(p)} ({_shape(source.get(pairs[p]))} there, {_shape(wanted.get(p))} here)"
      for p in differing
    )
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    raise RunError(
      f"config key 'init_from': the network in {directory} differs from this one in more than its "
      f"classifier: {', '.join(named[:SHOWN])}{more}"
    )


def _log(directory: str, mapped: Mapped, source: Leaves, wanted: Leaves) -> None:
  """Tells what was taken, what was left there, and what is new here."""
  fresh = [path for path in wanted if path not in mapped.taken]
  left = source.keys() - set(mapped.taken.values())
  where = "/".join(mapped.here) or "the network"
  log.info("%d arrays of %s start %s", len(mapped.taken), directory, where)
  if fresh:
    log.info("what %s lacks is initialized: a new %s", directory, _listed(fresh))
  if left:
    log.info("left in %s: %s", directory, _listed(left))


def _listed(paths: Iterable[ParameterPath]) -> str:
  names = sorted(map("/".join, paths))
  more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
  return ", ".join(names[:SHOWN]) + more


def _leaves(variables: Mapping[str, Any]) -> Leaves:
  """Returns {path without its collection: array}."""
  flat = traverse_util.flatten_dict(dict(variables))
  return {path[1:]: leaf for path, leaf in flat.items()}


def _filled(variables: Mapping[str, Any], source: Leaves) -> dict[str, Any]:
  """Returns new arrays of the variables' structure, from the source where it has them."""
  flat = traverse_util.flatten_dict(dict(variables), keep_empty_nodes=True)
  return traverse_util.unflatten_dict(
    {
      path: leaf
      if leaf is traverse_util.empty_node
      else jnp.array(source.get(path[1:], leaf), leaf.dtype)
      for path, leaf in flat.items()
    }
  )


def _shape(leaf: Any) -> tuple[int, ...] | None:
  return None if leaf is None else tuple(leaf.shape)
