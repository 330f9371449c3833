"""ZFNet's deconvolutional network: which pattern of an image a unit responds to.

"Visualizing and Understanding Convolutional Networks" (arXiv:1311.2901, section 2.1): from one unit
back to the pixels through transposed convolutions, unpooling at the places of the maxima (the switches)
and a ReLU of what goes back. This is the gradient, but for the ReLUs (arXiv:1312.6034, section 4), which
is how it is computed here. So it is defined for any network of ReLUs; where branches meet, they are added.
"""

from __future__ import annotations

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
from cnnlab.inspect.network import AnyNetwork, layer_outputs, layers, with_activation
from cnnlab.nn import LocalResponseNorm

DECONVOLVED = "deconvolved_relu"  # as activation of a network: only its gradient differs


@jax.custom_vjp
def deconvolved_relu(x: Array) -> Array:
  """Returns max(x, 0), whose gradient is the positive part of the one from above, whatever x."""
  return jax.nn.relu(x)


def _forward(x: Array) -> tuple[Array, None]:
  return jax.nn.relu(x), None


def _backward(_: None, upper: Array) -> tuple[Array]:
  return (jax.nn.relu(upper),)


deconvolved_relu.defvjp(_forward, _backward)


def deconvolution(
  network: AnyNetwork,
  inputs: ArrayLike,
  layer: str,
  channels: ArrayLike,
  places: ArrayLike | None = None,
) -> np.ndarray:
  """Returns the pattern that a unit responds to, one for each image, float32 in the shape of `inputs`.

  Local response norm is passed over on the way back; norms with moving averages are part of the
  convolution before them.

  Args:
    network: any whose option `act` is 'relu', or whose encoder's is.
    inputs: as the network takes them, float32 [batch, height, width, channels].
    layer: of `cnnlab.inspect.network.layer_outputs`.
    channels: of the unit, int [batch].
    places: its row and column in the map, int [batch, 2]; where the channel is strongest by default.

  Raises:
    ConfigError: there is no such map, channel or place, or another activation.
  """
  images = jnp.asarray(inputs, jnp.float32)
  model = with_activation(network.model, DECONVOLVED, deconvolved_relu, "deconvolution")
  chosen, shape = np.asarray(channels), layers(network, images.shape[1:]).get(layer)
  at = None if places is None else np.asarray(places)
  if shape is not None:  # otherwise `layer_outputs` tells what there is
    _require("channels", chosen, (len(images),), shape[2:])
    if at is not None:
      _require("places", at, (len(images), 2), shape[:2])
  found = _deconvolved(model, network.variables, images, layer, chosen, at)
  return np.asarray(found)


def _require(name: str, given: np.ndarray, shape: tuple[int, ...], sizes: tuple[int, ...]) -> None:
  if given.shape != shape or (given < 0).any() or (given >= np.asarray(sizes)).any():
    raise ConfigError(
      f"{name} has the shape {given.shape} and values from {given.min()} to {given.max()}; allowed: the "
      f"shape {shape}, with values from 0 to below {' and '.join(map(str, sizes))}"
    )


@partial(jax.jit, static_argnums=(0, 3))
def _deconvolved(
  model: nn.Module,
  variables: VariableDict,
  inputs: Array,
  layer: str,
  channels: Array,
  places: Array | None,
) -> Array:
  def forward(x: Array) -> Array:
    with nn.intercept_methods(_straight_through):
      return layer_outputs(model, variables, x, [layer])[0]

  found, pull = jax.vjp(forward, inputs)
  batch, _, width, _ = found.shape
  rows = jnp.arange(batch)
  if places is None:
    best = found[rows, :, :, channels].reshape(batch, -1).argmax(axis=1)
    places = jnp.stack(jnp.divmod(best, width), axis=1)
  unit = (rows, places[:, 0], places[:, 1], channels)
  return pull(jnp.zeros_like(found).at[unit].set(found[unit]))[0]


def _straight_through(
  call: NextGetter, args: Args, kwargs: Kwargs, context: InterceptorContext
) -> object:
  out = call(*args, **kwargs)
  if isinstance(context.module, LocalResponseNorm) and context.method_name == "__call__":
    return args[0] + jax.lax.stop_gradient(out - args[0])
  return out
