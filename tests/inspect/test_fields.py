"""Receptive fields against the support of gradients, closed forms, and published figures."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.inspect import describe, receptive_fields
from cnnlab.models import create_model
from cnnlab.nn import Conv, ConvTranspose, Window, avg_pool, max_pool, stack
from cnnlab.nn.resize import resize

SIDE = 24


def extent(gradient):
  """First and last row and column of the pixels that a gradient reaches."""
  reached = np.abs(np.asarray(gradient[0])).sum(-1) > 0
  return [
    (int(hit.min()), int(hit.max())) for hit in (np.flatnonzero(reached.any(a)) for a in (1, 0))
  ]


def predicted(fields, unit, shape):
  """The same from the field, clipped to the image."""
  seen = []
  for axis in (0, 1):
    field = fields[axis]
    first = field.start + (0 if field.fixed else field.steps[1 + axis] * unit[axis])
    seen.append((max(first, 0), min(first + field.size, shape[axis]) - 1))
  return seen


def conv(features, kernel_size, **options):
  layer = Conv(features, kernel_size, fit="crop", **options)
  return lambda x: layer.init_with_output(jax.random.key(0), x)[0]


def chain(*layers):
  def run(x):
    for layer in layers:
      x = layer(x)
    return x

  return run


def two_branches(x):
  wide = conv(4, 5, padding=2)(x)
  return jnp.concatenate([conv(4, 3, padding=1)(x), conv(4, 3, padding=1)(wide)], -1)


STACKS = {
  "conv": conv(4, 3),
  "strided and padded": chain(conv(4, (5, 3), stride=(2, 3), padding=((1, 2), (0, 1)))),
  "dilated": chain(conv(4, 3, padding=2, dilation=2), conv(4, 3, padding=4, dilation=4)),
  "grouped": conv(6, 3, stride=2, padding=1, groups=3),
  "pooled": chain(conv(4, 3, padding=1), lambda x: avg_pool(x, 2), conv(4, 3, padding=1)),
  "overlapping": chain(lambda x: avg_pool(x, 3, 2, 1, "crop"), conv(4, 3, padding=1)),
  "padded at the end": chain(conv(4, 3), lambda x: avg_pool(x, 3, 2, 0, "pad")),
  "branches": chain(two_branches, conv(4, 2, stride=2)),
  "sliced": lambda x: x[:, 3::2, 1:-4:3] * 2.0,
  "flipped": lambda x: jnp.transpose(conv(4, 3)(x), (0, 2, 1, 3)).transpose((0, 2, 1, 3)),
}


@pytest.mark.parametrize("name", STACKS)
def test_gradients_reach_what_a_unit_sees(name):
  fn, shape = STACKS[name], (SIDE, SIDE, 3)
  fields = receptive_fields(fn, shape)
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  height, width, channels = jax.eval_shape(fn, image).shape[1:]
  _, pull = jax.vjp(fn, jax.random.normal(jax.random.key(1), (1, *shape)))
  for unit in ((0, 0), (height // 2, width // 3), (height - 1, width - 1)):
    gradient = pull(jnp.zeros((1, height, width, channels)).at[0, unit[0], unit[1]].set(1.0))[0]
    assert predicted(fields, unit, shape) == extent(gradient), unit


def transposed(features, kernel_size, stride, padding):
  layer = ConvTranspose(features, kernel_size, stride=stride, padding=padding)
  return lambda x: layer.init_with_output(jax.random.key(0), x)[0]


UPSAMPLED = {
  "transposed": chain(conv(4, 3, stride=2, padding=1), transposed(4, 4, 2, "same")),
  "without overlap": chain(conv(4, 5, stride=4, padding=2), transposed(4, 2, 2, 0)),
  "interpolated": chain(conv(4, 5, stride=4, padding=2), lambda x: resize(x, (24, 12))),
  "and convolved": chain(conv(4, 3, stride=2), lambda x: resize(x, (22, 22)), conv(4, 3)),
}


@pytest.mark.parametrize("name", UPSAMPLED)
def test_the_field_of_an_upsampled_unit_holds_what_it_sees(name):
  fn, shape = UPSAMPLED[name], (SIDE, SIDE, 3)
  fields = receptive_fields(fn, shape)
  image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
  height, width, channels = jax.eval_shape(fn, image).shape[1:]
  _, pull = jax.vjp(fn, jax.random.normal(jax.random.key(1), (1, *shape)))
  sizes = []
  for unit in ((height // 2, width // 2), (height // 2 + 1, width // 2 + 1)):
    gradient = pull(jnp.zeros((1, height, width, channels)).at[0, unit[0], unit[1]].set(1.0))[0]
    for (first, last), (from_, to) in zip(
      predicted(fields, unit, shape), extent(gradient), strict=True
    ):
      assert first <= from_ <= to <= last
      sizes.append((last - first) - (to - from_))
  # It is a bound, but no more than two steps of the map before it wide of the mark.
  assert max(sizes) <= 8
  assert [field.steps[1 + axis] for axis, field in enumerate(fields)] != [0, 0]


def test_a_maximum_sees_its_whole_window():
  """A gradient reaches only one pixel of a window; over many images it reaches them all."""
  fields = receptive_fields(lambda x: max_pool(x, 3, 2, 1, "crop"), (9, 9, 1))
  gradient = jax.grad(lambda x: max_pool(x, 3, 2, 1, "crop")[:, 2, 1].sum())
  hit = jnp.abs(gradient(jax.random.normal(jax.random.key(0), (300, 9, 9, 1)))).sum((0, 3)) > 0
  rows, columns = np.flatnonzero(hit.any(1)), np.flatnonzero(hit.any(0))
  assert predicted(fields, (2, 1), (9, 9)) == [
    (rows[0], rows[-1]),
    (columns[0], columns[-1]),
  ]


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("resnet20", {"blocks": 1, "width": 0.25, "output_stride": 1, "preact": True}),
    ("convnet", {"features": (3, 4), "downsample": "avg", "padding": "valid", "kernel_size": 3}),
  ],
)
def test_stages_of_nets(name, options):
  # ReLU would cut some gradients off.
  net, shape = create_model(name, act="softplus", **options), (SIDE - 2, SIDE - 2, 3)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  variables = net.init(rngs, jnp.zeros((1, *shape)), train=False)

  def feats(x):
    return {k: v for k, v in net.apply(variables, x, train=False)[1].items() if v.ndim == 4}

  found = receptive_fields(feats, shape)
  x, unit = jax.random.normal(jax.random.key(1), (1, *shape)), (1, 2)

  def units(x):
    return {stage: maps[0, unit[0], unit[1]].sum() for stage, maps in feats(x).items()}

  _, pull = jax.vjp(units, x)
  for stage in found:
    gradient = pull({other: jnp.float32(other == stage) for other in found})[0]
    assert predicted(found[stage], unit, shape) == extent(gradient), stage


def test_agrees_with_the_arithmetic_of_stacks():
  layers = [Window(7, 2, 3, features=4), Window(3, 2, 1), Window(3, 1, 1, features=4)]
  rows = stack([layer._replace(fit="crop") for layer in layers], 64, 3)
  fn = chain(
    conv(4, 7, stride=2, padding=3), lambda x: max_pool(x, 3, 2, 1, "crop"), conv(4, 3, padding=1)
  )
  vertical, _ = receptive_fields(fn, (64, 64, 3))
  row = rows[-1]
  assert (vertical.size, vertical.steps[1], vertical.start) == (
    row.receptive_field[0],
    row.stride[0],
    row.start[0],
  )


@pytest.mark.parametrize("norm", ["layer", "instance", "group"])
def test_statistics_of_the_image_make_a_unit_see_all_of_it(norm):
  net = create_model("resnet20", blocks=1, width=0.25, norm=norm)
  rows = {row.name: row for row in describe(net, (32, 32, 3)).rows}
  assert rows["conv1"].receptive_field == (3, 3)
  everything = (32 + 2 * 1, 32 + 2 * 1)  # the first convolution's padding is seen as well
  assert rows["norm1"].receptive_field == everything
  assert rows["stage3_block1/conv2"].receptive_field == everything
  assert rows["stage3_block1/conv2"].stride == (4, 4)


# Araujo et al., doi:10.23915/distill.00021, table of receptive fields: AlexNet's and VGG-16's last
# pooling. The rest are closed forms: each 3x3 convolution adds two strides.
@pytest.mark.parametrize(
  ("name", "image", "field"),
  [
    ("alexnet", 224, 195),
    ("vgg16", 224, 212),
    ("resnet20", 32, 1 + 2 * (7 + 1) + 4 * (5 + 1) + 8 * 5),
  ],
)
def test_published_receptive_fields(name, image, field):
  assert describe(create_model(name), (image, image, 3)).receptive_field == (field, field)
