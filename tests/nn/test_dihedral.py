"""Against NumPy's rotations."""

import jax
import numpy as np

from cnnlab.nn import dihedral


def test_the_eight_are_all_turns_and_mirror_images_and_points_move_along():
  x = np.arange(25).reshape(5, 5)
  expected = {np.rot90(y, k).tobytes() for y in (x, x.T) for k in range(4)}
  found = set()
  for number in range(dihedral.SYMMETRIES):
    y = jax.jit(dihedral.transform)(x, number)
    found.add(np.asarray(y, x.dtype).tobytes())
    np.testing.assert_array_equal(dihedral.restore(y, number), x)
    moved = dihedral.transform_point(np.arange(25), number, 5)
    np.testing.assert_array_equal(y.reshape(-1)[moved], np.arange(25))
  assert found == expected
