import jax
import jax.numpy as jnp
import pytest

from cnnlab.errors import ConfigError, ShapeError
from cnnlab.nn import Conv, avg_pool, check_image, conv_parameters, max_pool, output_size
from cnnlab.nn.geometry import fit_axis, padding_pairs, pair


@pytest.mark.parametrize(
  ("size", "window", "stride", "padding", "out"),
  [
    (227, 11, 4, 0, 55),  # AlexNet's first layer, CS231n
    (5, 3, 1, 1, 5),
    (5, 3, 2, 1, 3),
    (7, 3, 2, 0, 3),
    (32, 5, 1, 2, 32),
    (224, 2, 2, 0, 112),
  ],
)
def test_output_size_of_the_lecture_notes(size, window, stride, padding, out):
  assert output_size(size, window, stride, padding) == out


def test_a_size_that_does_not_fit_names_the_nearest_that_do():
  # CS231n: "W=10, P=0, F=3: stride 2 is impossible, (10-3)/2+1 = 4.5".
  with pytest.raises(ShapeError, match=r"\(10 - 3 \+ 0\)/2 \+ 1.*sizes that fit are 9 and 11"):
    output_size(10, 3, 2)
  assert output_size(9, 3, 2) == 4
  assert output_size(11, 3, 2) == 5
  with pytest.raises(ShapeError, match="smallest size that fits is 5"):
    output_size(4, 7, 1, 1)
  with pytest.raises(ShapeError, match="sizes that fit are 3 and 5,"):
    output_size(4, 3, 2)
  with pytest.raises(ShapeError, match="sizes that fit are 2,"):
    output_size(1, 2, 2, 1)


def test_crop_and_pad():
  assert output_size(10, 3, 2, fit="crop") == 4
  assert output_size(10, 3, 2, fit="pad") == 5
  assert output_size(10, 3, 2, 1, fit="crop") == 5
  # PyTorch's ceil_mode drops a window that would start in the padding after the image.
  assert output_size(2, 1, 2, 1, fit="pad") == 2
  assert output_size(3, 2, 2, 1, fit="pad") == 2
  assert fit_axis(10, 3, 2, fit="pad").high == 1
  assert fit_axis(10, 3, 2, fit="crop").high == -1


@pytest.mark.parametrize("size", [7, 10])
@pytest.mark.parametrize("window", [2, 3])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, "same", (0, 2)])
@pytest.mark.parametrize("fit", ["exact", "crop", "pad"])
def test_layers_have_the_size_that_the_formula_says(size, window, stride, padding, fit):
  x = jax.ShapeDtypeStruct((1, size, 12, 2), jnp.float32)
  pads = (padding, (0, 0)) if isinstance(padding, tuple) else padding
  if isinstance(padding, int):
    pads = (padding, 0)
  options = {"stride": (stride, 1), "padding": pads, "fit": fit}
  layers = {
    "conv": lambda x: Conv(1, (window, 1), **options).init_with_output(jax.random.key(0), x)[0],
    "max": lambda x: max_pool(x, (window, 1), **options),
    "avg": lambda x: avg_pool(x, (window, 1), **options),
  }
  try:
    expected = output_size(size, window, stride, padding, 1, fit)
  except ShapeError:
    for layer in layers.values():
      with pytest.raises(ShapeError):
        jax.eval_shape(layer, x)
    return
  for name, layer in layers.items():
    assert jax.eval_shape(layer, x).shape[1:3] == (expected, 12), name


def test_named_padding():
  assert output_size(7, 3, 2, "same") == 4
  assert padding_pairs("valid") == ((0, 0), (0, 0))
  assert padding_pairs(((1, 2), (3, 4))) == ((1, 2), (3, 4))
  assert padding_pairs((1, 2)) == ((1, 1), (2, 2))


@pytest.mark.parametrize("bad", ["sane", -1, (1, 2, 3), ((1, 2),), (1, -2), 1.5, True])
def test_bad_padding_is_refused(bad):
  with pytest.raises(ConfigError, match="padding"):
    padding_pairs(bad)


def test_bad_pairs_and_fits_are_refused():
  with pytest.raises(ConfigError, match="stride: 0 is not an int >= 1"):
    pair(0, "stride")
  with pytest.raises(ConfigError, match=r"did you mean 'crop'"):
    fit_axis(10, 3, 2, fit="corp")


def test_parameters_of_alexnets_first_layer():
  assert conv_parameters(11, 3, 96) == 34_944
  assert conv_parameters(5, 96, 256, groups=2) == 307_456
  assert conv_parameters((3, 1), 8, 4, use_bias=False) == 96


def test_too_small_an_image_names_stride_and_size():
  check_image((1, 32, 32, 3), 32, "net")
  with pytest.raises(ShapeError, match=r"net has a total stride of 32.*31x40.*32x32"):
    check_image((1, 31, 40, 3), 32, "net")
  with pytest.raises(ShapeError, match="64x64"):
    check_image((1, 32, 32, 3), 32, "net", minimum=64)
  with pytest.raises(ShapeError, match=r"\(32, 32, 3\)"):
    check_image((32, 32, 3), 1, "net")
