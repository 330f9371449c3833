"""Starting from another run's weights: what fits is taken, and only the classifier may differ."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import traverse_util

from cnnlab.errors import RunError
from cnnlab.runs import checkpoint
from cnnlab.train.state import State

log = logging.getLogger(__name__)

HEAD = "head"  # a part of the path of every classifier's parameters
SHOWN = 8  # names in a message


def start_from(directory: str, state: State) -> State:
  """Returns a fresh state with the weights of a run or checkpoint where path and shape agree.

  Batch norm's scale and bias are found whether they are parameters or frozen, so that a network
  may go on with norm='frozen_batch'. Averaged weights are preferred where the run has them.

  Args:
    directory: a run's or a checkpoint's, such as `cnnlab convert` writes.
    state: of step 0.

  Raises:
    RunError: there is no checkpoint, or something other than the classifier differs; by name.
  """
  source = _leaves(checkpoint.restore_variables(Path(directory)))
  target = {"params": state.params, **state.model_state}
  wanted = {path: leaf.shape for path, leaf in _leaves(target).items()}
  fresh = [path for path, shape in wanted.items() if _shape(source.get(path)) != shape]
  differing = [path for path in (*fresh, *(source.keys() - wanted.keys())) if HEAD not in path]
  if differing:
    named = sorted(
      f"{'/'.join(p)} ({_shape(source.get(p))} there, {wanted.get(p)} here)" for p in differing
    )
    more = f" and {len(named) - SHOWN} more" if len(named) > SHOWN else ""
    raise RunError(
      f"config key 'init_from': the network in {directory} differs from this one in more than its "
      f"classifier: {', '.join(named[:SHOWN])}{more}"
    )
  if fresh:
    log.info(
      "%s has another classifier: a new %s", directory, ", ".join(map("/".join, sorted(fresh)))
    )
  taken = _filled(target, {path: source[path] for path in wanted if path not in fresh})
  params = taken.pop("params")
  # A copy, since a training step takes over the memory of both.
  ema = _filled({"params": params}, {})["params"] if state.ema else state.ema
  return state.replace(params=params, model_state=taken, ema=ema)


def _leaves(variables: Any) -> dict[tuple[str, ...], Any]:
  """Returns {path without its collection: array}."""
  flat = traverse_util.flatten_dict(dict(variables))
  return {path[1:]: leaf for path, leaf in flat.items()}


def _filled(variables: Any, source: dict[tuple[str, ...], Any]) -> dict[str, Any]:
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
