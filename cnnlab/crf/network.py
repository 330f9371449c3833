"""A segmentation network with a random field on top."""

from __future__ import annotations

import jax
from flax import linen as nn

from cnnlab.crf.layers import Crf


class Refined(nn.Module):
  """A network whose scores a random field refines.

  The network's variables keep their names, so that its checkpoints fit, and equal seeds give equal
  initial weights with and without a field; those of the field are `crf`. A field with nothing to
  learn acts in evaluation only, on the very network that is trained without it. With learned
  constants, network and field are trained together, through all iterations (CRF-RNN,
  arXiv:1502.03240).

  Attributes:
    network: returns (logits [batch, height, width, classes], feats) for images.
    crf: the field.
  """

  network: nn.Module
  crf: Crf

  def setup(self) -> None:
    """Shares the network's scope."""
    nn.share_scope(self, self.network)

  def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns refined logits, and the network's feats with its own logits as `unary_logits`."""
    logits, feats = self.network(x, train=train)
    if train and self.crf.learned == "nothing":
      return logits, feats
    return self.crf(logits, x), feats | {"unary_logits": logits}
