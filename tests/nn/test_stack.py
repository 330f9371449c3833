import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import Conv, Window, avg_pool, count_parameters, multiply_adds, nearest_sizes, stack

STACKS = {
  "three 3x3": [Window(3, features=2)] * 3,
  "strided": [
    Window(3, 2, 1, features=2, fit="crop"),
    Window(3, 1, 1, features=4, groups=2),
    Window(3, 2, 0, fit="pad"),
  ],
  "dilated": [Window(3, features=2, dilation=d, padding=d, use_bias=False) for d in (1, 2, 3)],
  "mixed": [
    Window((1, 5), (1, 2), ((0, 0), (2, 1)), features=3),
    Window(3, 2),
    Window((3, 2), features=2, padding="same"),
  ],
}


def build(layers):
  """The stack as a real network, with average pooling so that every pixel has a gradient."""

  def net(x):
    params = []
    for i, layer in enumerate(layers):
      options = {"stride": layer.stride, "padding": layer.padding, "fit": layer.fit}
      if layer.features is None:
        x = avg_pool(x, layer.size, **options)
        continue
      conv = Conv(
        layer.features,
        layer.size,
        dilation=layer.dilation,
        groups=layer.groups,
        use_bias=layer.use_bias,
        kernel_init=jax.nn.initializers.constant(0.1 + i),
        **options,
      )
      x, variables = conv.init_with_output(jax.random.key(0), x)
      params.append(variables["params"])
    return x, params

  return net


@pytest.mark.parametrize("name", STACKS)
def test_agrees_with_traced_shapes_and_costs(name):
  layers = STACKS[name]
  image = jax.ShapeDtypeStruct((1, 17, 22, 2), jnp.float32)
  out, params = jax.eval_shape(build(layers), image)
  rows = stack(layers, (17, 22), 2)
  assert (1, *rows[-1].size, rows[-1].channels) == out.shape
  assert sum(row.parameters for row in rows) == count_parameters(params)
  assert sum(row.multiply_adds for row in rows) == multiply_adds(build(layers), image)


@pytest.mark.parametrize("name", STACKS)
def test_receptive_field_is_the_gradients_support(name):
  layers, (height, width) = STACKS[name], (17, 22)
  row = stack(layers, (height, width), 2)[-1]
  image = jnp.ones((1, height, width, 2))
  gradient = jax.jit(jax.grad(lambda x, at: (build(layers)(x)[0].sum((0, 3)) * at).sum()))
  for position in [(0, 0), (row.size[0] // 2, row.size[1] // 2), (row.size[0] - 1, 1)]:
    at = np.zeros(row.size, np.float32)
    at[position] = 1
    support = np.abs(gradient(image, at)).sum((0, 3)) > 0
    rows, columns = np.nonzero(support.any(1))[0], np.nonzero(support.any(0))[0]
    (top, bottom), (left, right) = row.sees(position)
    assert (rows[0], rows[-1]) == (max(top, 0), min(bottom, height - 1))
    assert (columns[0], columns[-1]) == (max(left, 0), min(right, width - 1))


def test_three_3x3_layers_see_what_one_7x7_layer_sees_for_27_instead_of_49():
  channels = 10
  small = stack([Window(3, padding=1, features=channels, use_bias=False)] * 3, 32, channels)
  (large,) = stack([Window(7, padding=3, features=channels, use_bias=False)], 32, channels)
  assert small[-1].receptive_field == large.receptive_field == (7, 7)
  assert sum(row.parameters for row in small) == 27 * channels**2
  assert large.parameters == 49 * channels**2


def test_dilation_doubles_the_field_at_equal_cost():
  """Seeds' figure of dilated convolution (arXiv:1511.07122, figure 1): 3, 7, 15."""
  rows = stack([Window(3, dilation=d, padding=d, features=1) for d in (1, 2, 4)], 32, 1)
  assert [row.receptive_field for row in rows] == [(3, 3), (7, 7), (15, 15)]
  assert {row.parameters for row in rows} == {10}


def test_vgg16s_last_pool_sees_212_pixels_at_stride_32():
  blocks = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
  layers = []
  for features, count in blocks:
    layers += [Window(3, padding=1, features=features)] * count + [Window(2, 2)]
  row = stack(layers, 224, 3)[-1]
  assert (row.size, row.channels) == ((7, 7), 512)
  assert row.receptive_field == (212, 212)
  assert row.stride == (32, 32)


def test_a_layer_that_does_not_fit_is_named():
  layers = [Window(3, features=4, name="first"), Window(2, 2, name="pool")]
  with pytest.raises(ShapeError, match="pool, height.*28 and 30"):
    stack(layers, 31, 3)
  assert nearest_sizes(layers, 31) == [30, 32]
  assert nearest_sizes(layers, 30, 3) == [30, 28, 32]
  with pytest.raises(ConfigError, match="layer 1: groups=2"):
    stack([Window(3, features=4, groups=2)], 8, 3)


def test_nearest_sizes_of_alexnets_first_layers():
  # The paper says 224, for which (224 - 11)/4 is not an integer; 227 fits (CS231n).
  assert 227 in nearest_sizes([Window(11, 4), Window(3, 2)], 224)
