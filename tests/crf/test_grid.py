"""Messages of the grid against loops over pairs of pixels."""

import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.crf.grid import grid_messages

from .fields import grid_pairs


@pytest.mark.parametrize("neighbors", [4, 8])
def test_messages_come_from_the_neighbors(neighbors):
  draw = np.random.default_rng(0).normal
  image, values = draw(size=(4, 5, 3)), draw(size=(4, 5, 2))
  constants = {"weight": 0.4, "contrast": 1.1, "color_width": 1.3}
  found = grid_messages(jnp.asarray(image), neighbors, **constants)(jnp.asarray(values))
  pairs = grid_pairs(image, neighbors, **constants)
  np.testing.assert_allclose(found, (pairs @ values.reshape(20, 2)).reshape(4, 5, 2), atol=1e-5)


def test_an_edge_in_the_image_separates():
  image = jnp.zeros((1, 4, 1)).at[:, 2:].set(10.0)
  ones = jnp.ones((1, 4, 1))
  found = grid_messages(image, 4, 0.0, 1.0, 1.0)(ones)
  np.testing.assert_allclose(found.ravel(), [1, 1, 1, 1], atol=1e-6)
  found = grid_messages(image, 4, 0.25, 1.0, 1.0)(ones)
  np.testing.assert_allclose(found.ravel(), [1.25, 1.5, 1.5, 1.25], atol=1e-6)
