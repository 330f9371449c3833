"""Blocks that are removed from a trained network: how much of its accuracy hangs on each.

Source: arXiv:1605.06431, section 4. A residual block without its branch is its shortcut, so that
removing it leaves the network of the other paths; of a plain network nothing bridges the gap.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.module import Args, InterceptorContext, Kwargs, NextGetter
from flax.typing import VariableDict
from jax import Array
from jax.typing import ArrayLike

from cnnlab.errors import ConfigError
from cnnlab.native import library
from cnnlab.types import PyTree


def removable_blocks(model: nn.Module, image_shape: tuple[int, ...]) -> tuple[str, ...]:
  """Returns the blocks of a network without which it still fits together, in execution order.

  These are the modules of the network, made of modules themselves, whose output has the shape of
  their input: residual and highway blocks, their plain twins, a transformer's blocks, but not those
  that change size or channels. Empty if it has none, as of VGG.

  Args:
    model: as `cnnlab.models.create_model` builds it.
    image_shape: (height, width, channels).

  Raises:
    ShapeError: the image is too small for the network.
  """
  keeping: dict[str, bool] = {}
  nested: set[str] = set()

  def record(call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
    out, path = call(*args, **kwargs), context.module.path
    if len(path) > 1:
      nested.add(path[0])
    elif path and context.method_name == "__call__":
      # One that is called twice would have to keep the shape both times.
      same = getattr(out, "shape", ()) == args[0].shape
      keeping[path[0]] = same and keeping.get(path[0], True)
    return out

  def init(x: Array) -> PyTree:
    return model.init(dict.fromkeys(("params", "dropout"), jax.random.key(0)), x, train=False)

  with nn.intercept_methods(record):
    jax.eval_shape(init, jax.ShapeDtypeStruct((1, *image_shape), jnp.float32))
  return tuple(name for name, same in keeping.items() if same and name in nested)


@contextlib.contextmanager
def removed(flags: Mapping[str, ArrayLike]) -> Iterator[None]:
  """Inside, a network's modules of these names return their input where their flag is true.

  Flags may be traced, so that one compiled program removes any of the blocks.
  """

  def call(method: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext) -> object:
    out = method(*args, **kwargs)
    name = "/".join(context.module.path)
    if name not in flags or context.method_name != "__call__":
      return out
    return jnp.where(flags[name], args[0], out)

  with nn.intercept_methods(call):
    yield


def outputs_without(
  model: nn.Module, variables: VariableDict, x: Array, blocks: Sequence[str], removals: ArrayLike
) -> Array:
  """Returns what a network makes of inputs without some of its blocks; traceable.

  Args:
    model, variables: of the network.
    x: its inputs, [batch, height, width, channels].
    blocks: names, of `removable_blocks`.
    removals: bool [removals, blocks], true for the blocks that are removed together.

  Returns:
    The output for each of the removals, [removals, batch, ...].
  """

  def output(flags: Array) -> Array:
    with removed(dict(zip(blocks, flags, strict=True))):
      return model.apply(variables, x, train=False)[0]

  # XLA:CPU's own convolutions are slow in loops; all removals at once take their memory instead.
  loops = jax.default_backend() != "cpu" or library.enabled()
  over = partial(jax.lax.map, output) if loops else jax.vmap(output)
  return over(jnp.asarray(removals))


def random_removals(blocks: int, counts: Sequence[int], draws: int, seed: int = 0) -> np.ndarray:
  """Returns which blocks are removed, drawn at random, bool [counts, draws, blocks].

  In each draw, the blocks of a smaller count are among those of a larger one.

  Args:
    blocks: number of blocks.
    counts: how many are removed.
    draws: draws for each count.
    seed: of the draws; nothing else decides them, so that networks with as many blocks lose the
      same.

  Raises:
    ConfigError: a count of more blocks than there are, or below 0.
  """
  if wrong := [count for count in counts if not 0 <= count <= blocks]:
    raise ConfigError(
      f"{wrong[0]} blocks cannot be removed; the network has {blocks} that keep the shape of their "
      f"input: allowed: 0 to {blocks}"
    )
  generator = np.random.default_rng(seed)
  ranks = np.stack([generator.permutation(blocks) for _ in range(draws)])
  return ranks < np.array(counts, int).reshape(-1, 1, 1)
