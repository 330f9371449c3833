import itertools

import jax
import jax.numpy as jnp
import pytest

from cnnlab.errors import ShapeError
from cnnlab.models import create_model
from cnnlab.nn import count_parameters


def shapes(size=224, **options):
  net = create_model("zfnet", **options)
  x = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(jax.random.key(0), x, train=False), x)


def test_maps_have_the_sizes_of_figure_3():
  (_, feats), _ = shapes()
  assert [feats[f"conv{i}"].shape[1:] for i in range(1, 6)] == [
    (55, 55, 96),
    (13, 13, 256),
    (13, 13, 384),
    (13, 13, 384),
    (6, 6, 256),
  ]


@pytest.mark.parametrize("hidden", [(), (4096,), (2048, 2048), (8192, 8192)])
def test_ablations_of_table_3(hidden):
  windows = (7, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)
  expected = sum(window**2 * inputs * maps + maps for window, inputs, maps in windows)
  widths = (6 * 6 * 256, *hidden, 1000)
  expected += sum((before + 1) * after for before, after in itertools.pairwise(widths))
  assert count_parameters(shapes(hidden=hidden)[1]["params"]) == expected


def test_a_small_image_is_refused():
  with pytest.raises(ShapeError, match="32x32"):
    shapes(size=32)
