"""A segmentation network with a random field on top."""

from __future__ import annotations

from collections.abc import Callable

import jax
from flax import linen as nn

from cnnlab.crf.layers import Crf


def refined(network: nn.Module, crf: Crf) -> Refined:
  """Returns a network whose scores a random field refines.

  The network's variables keep their names, so that its checkpoints fit, and equal seeds give equal
  initial weights with and without a field; those of the field are `crf`. A field with nothing to
  learn acts in evaluation only, on the very network that is trained without it. With learned
  constants, network and field are trained together, through all iterations (CRF-RNN,
  arXiv:1502.03240).

  Args:
    network: returns (logits [batch, height, width, classes], feats) for images.
    crf: the field.
  """
  return Refined(network.clone, crf)


class Refined(nn.Module):
  """See `refined`.

  Attributes:
    clone_network: `clone` of the network; a module among the fields would have a scope of its own.
    crf: the field.
  """

  clone_network: Callable[..., nn.Module]
  crf: Crf

  @nn.compact
  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns refined logits, and the network's feats with its own logits as `unary_logits`."""
    logits, feats = self.clone_network(parent=self.scope, name=None)(x, train=train)
    if train and self.crf.learned == "nothing":
      return logits, feats
    return self.crf(logits, x), feats | {"unary_logits": logits}
