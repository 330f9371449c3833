import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.errors import ConfigError
from cnnlab.nn import ConvTranspose
from cnnlab.nn.init import bilinear

from .references import randoms


def scatter(x, kernel, stride, padding, output_padding, dilation, groups):
  """Adds each pixel's multiple of the kernel to the output, by the definition."""
  batch, height, width, _ = x.shape
  tall, broad, per_group, outputs = kernel.shape
  y = np.zeros(
    (
      batch,
      (height - 1) * stride + dilation * (tall - 1) + 1 + output_padding,
      (width - 1) * stride + dilation * (broad - 1) + 1 + output_padding,
      outputs,
    )
  )
  share = outputs // groups
  for i in range(height):
    for j in range(width):
      for a in range(tall):
        for b in range(broad):
          for g in range(groups):
            part = x[:, i, j, g * per_group : (g + 1) * per_group].astype(np.float64)
            target = slice(g * share, (g + 1) * share)
            y[:, i * stride + a * dilation, j * stride + b * dilation, target] += (
              part @ np.asarray(kernel)[a, b, :, target]
            )
  return y[:, padding : y.shape[1] - padding, padding : y.shape[2] - padding]


@pytest.mark.parametrize(
  ("stride", "padding", "output_padding", "dilation", "groups"),
  [(1, 0, 0, 1, 1), (2, 1, 0, 1, 1), (2, 1, 1, 1, 2), (3, 0, 2, 1, 1), (2, 2, 0, 2, 1)],
)
def test_is_the_scatter_of_the_kernel(stride, padding, output_padding, dilation, groups):
  x = randoms(2, 4, 5, 4)
  layer = ConvTranspose(
    6, (3, 4), stride, padding, output_padding, dilation, groups, use_bias=False
  )
  y, variables = layer.init_with_output(jax.random.key(0), x)
  kernel = variables["params"]["kernel"]
  expected = scatter(x, kernel, stride, padding, output_padding, dilation, groups)
  assert y.shape == expected.shape
  np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [2, 3, 4, 5])
@pytest.mark.parametrize("stride", [2, 3])
def test_same_multiplies_the_size(kernel_size, stride):
  layer = ConvTranspose(1, kernel_size, stride, padding="same")
  shape = jax.eval_shape(
    lambda x: layer.init_with_output(jax.random.key(0), x)[0], jnp.ones((1, 5, 7, 1))
  ).shape
  assert shape == (1, 5 * stride, 7 * stride, 1)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("groups", [1, 3])
def test_bilinear_start_interpolates(factor, groups):
  """Inside, an upsampled linear ramp is the ramp: FCN's upsampling layer."""
  size, kernel = 6, 2 * factor - factor % 2
  rows, columns = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
  image = np.stack([rows, columns, 2 * rows - columns], -1)[None].astype(np.float32)
  layer = ConvTranspose(
    3,
    kernel,
    factor,
    padding=(kernel - factor) // 2 if factor % 2 == 0 else (factor - 1) // 2,
    groups=groups,
    use_bias=False,
    kernel_init=bilinear,
  )
  y = np.asarray(layer.init_with_output(jax.random.key(0), image)[0])[0]
  assert y.shape == (size * factor, size * factor, 3)
  centers = (np.arange(size * factor) + 0.5) / factor - 0.5
  inner = slice(factor, -factor)
  expected = np.meshgrid(centers, centers, indexing="ij")
  expected = np.stack([*expected, 2 * expected[0] - expected[1]], -1)
  np.testing.assert_allclose(y[inner, inner], expected[inner, inner], atol=1e-5)


def test_output_padding_must_be_less_than_the_stride():
  with pytest.raises(ConfigError, match="output_padding=2"):
    ConvTranspose(1, 3, 2, output_padding=2).init(jax.random.key(0), jnp.ones((1, 4, 4, 1)))
