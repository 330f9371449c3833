"""What every model must do, as checks for tests; `docs/extending.md` states the rules.

  def test_my_net():
    cnnlab.testing.check_model("my_net", image_shape=(32, 32, 3), width=0.25)

Each check raises AssertionError, which names the rule that is broken.
"""

from __future__ import annotations

import contextlib
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.errors import InvalidRngError

from cnnlab.annotations import describe_type, fit
from cnnlab.errors import ConfigError, ShapeError
from cnnlab.models import create_model, model_options
from cnnlab.models.faster_rcnn import TwoStage
from cnnlab.models.fpn import Dense
from cnnlab.nn import NORMS
from cnnlab.nn.layers import DTYPES
from cnnlab.types import OptionValue, PyTree

ImageShape = tuple[int, int, int]

# What each norm keeps in `batch_stats`.
_STATISTICS = {
  "batch": {"mean", "var"},
  "frozen_batch": {"mean", "var", "scale", "bias"},
  "switchable": {"mean", "var"},
  "weight_mean_only": {"mean"},
  **{norm: set() for norm in ("layer", "instance", "group", "weight", "lrn", "none")},
}
_WITHOUT_SCALE = ("none", "lrn", "frozen_batch")
_CLASSES = 7
_BATCH = 4


def check_model(name: str, image_shape: ImageShape = (32, 32, 3), **options: OptionValue) -> None:
  """Checks a model by all rules, with every norm where it has the option `norm`.

  Most of it is traced, and nothing is trained; small options keep the rest short.

  Args:
    name: of the model, see `cnnlab.models.register_model`.
    image_shape: (height, width, channels) of the images that it is checked on.
    **options: of the model, for all checks.

  Raises:
    AssertionError: it breaks a rule.
    ConfigError, ShapeError: an option or the images do not fit the model.
  """
  make = functools.partial(create_model, name, **options)
  check_options(name)
  for dtype in DTYPES:
    check_outputs(make(dtype=dtype, num_classes=_CLASSES), image_shape, _CLASSES)
  check_gradients(make(), image_shape)
  check_evaluation(make(), image_shape)
  if "norm" in model_options(name):
    for norm in NORMS:
      with contextlib.suppress(ConfigError, ShapeError):  # it may say that a norm does not suit it
        check_norm(make(norm=norm), norm, image_shape)
    check_equal_start(make(), make(norm="weight"), image_shape)


def check_options(name: str) -> None:
  """Checks that options can be written in configs: a type and a default, `num_classes` and `dtype`."""
  options = model_options(name)
  for needed in ("num_classes", "dtype"):
    _require(needed in options, name, f"has a field {needed!r}")
  for key, (kind, default) in options.items():
    _require(
      fit(default, kind)[1],
      name,
      f"has a default of the type that is declared for {key!r}, {describe_type(kind)}",
    )


def check_outputs(net: nn.Module, image_shape: ImageShape, classes: int) -> None:
  """Checks what a net returns, in training and evaluation, and the types of what it keeps."""
  traced = trace(net, (2, *image_shape))
  out, feats = traced.out, traced.feats
  shapes = [(2, classes), (2, *image_shape[:2], classes)]
  if isinstance(out, (Dense, TwoStage)):
    _check_detections(out, net, classes)
  else:
    shape = getattr(out, "shape", None)
    _require(shape in shapes, net, f"returns an output of {shapes[0]}, or {shapes[1]}")
  for one in _arrays(out):
    kind = one.dtype in (jnp.float32, jnp.bool_)
    _require(kind, net, f"returns an output of float32, not {one.dtype}")
  _require(isinstance(feats, dict), net, "returns (output, feats) with a dict of stages")
  for name, value in feats.items():
    maps = jax.tree.leaves(value)
    _require(
      bool(maps) and all(leaf.shape[:1] == (2,) for leaf in maps),
      net,
      f"returns stages [batch, ...]; {name!r} is none",
    )
  types = {leaf.dtype for leaf in jax.tree.leaves(traced.variables)}
  _require(types == {jnp.dtype("float32")}, net, f"keeps its variables in float32, not in {types}")
  state = {key: value for key, value in traced.variables.items() if key != "params"}
  _require(
    bool(jax.tree.structure(traced.updates) == jax.tree.structure(state)),  # type: ignore[operator]
    net,
    "updates the same variables in training that it has at the start",
  )


def _check_detections(out: Dense | TwoStage, net: nn.Module, classes: int) -> None:
  """Checks the shapes of what a detector returns for two images."""
  dense, count = (out.rpn, 1) if isinstance(out, TwoStage) else (out, classes)
  for logits, offsets, anchors in zip(*dense, strict=True):
    rows = (2, len(anchors))
    _require(logits.shape == (*rows, count), net, f"returns logits {(*rows, count)} for anchors")
    _require(offsets.shape == (*rows, 4), net, f"returns offsets {(*rows, 4)} for anchors")
  if isinstance(out, TwoStage):
    boxes = out.valid.shape
    shapes = ((*boxes, 4), boxes, (*boxes, classes), (*boxes, classes, 4))
    found = tuple(one.shape for one in out[1:])
    _require(
      found == shapes, net, f"returns boxes, mask, logits and offsets {shapes} for proposals"
    )


def _arrays(out: PyTree) -> list[jax.Array]:
  """Returns what a net returns for the images of a batch, [batch, ...] each."""
  if isinstance(out, TwoStage):
    return [*_arrays(out.rpn), *out[1:]]
  return [*out.logits, *out.offsets] if isinstance(out, Dense) else [out]


def check_norm(net: nn.Module, norm: str, image_shape: ImageShape) -> None:
  """Checks that a net with a norm has that norm's variables and no trace of another."""
  variables = trace(net, (2, *image_shape)).variables
  leaves = {path[-1] for path in traverse_util.flatten_dict(variables["params"])}
  kept = {path[-1] for path in traverse_util.flatten_dict(variables.get("batch_stats", {}))}
  if norm in _STATISTICS:
    told = f"keeps the statistics of norm {norm!r}, {sorted(_STATISTICS[norm])}, not {sorted(kept)}"
    _require(kept == _STATISTICS[norm], net, told)
  weighs = "mean_weight" in leaves
  _require(
    weighs == (norm == "switchable"), net, f"has no weights of switchable norm with {norm!r}"
  )
  if norm in _WITHOUT_SCALE:
    _require("scale" not in leaves, net, f"has no scale of another norm with norm {norm!r}")


def check_gradients(net: nn.Module, image_shape: ImageShape) -> None:
  """Checks that a step's gradients are finite and reach every parameter."""
  shape = (_BATCH, *image_shape)
  images = jax.random.normal(jax.random.key(2), shape)
  variables = initial(net, (2, *image_shape))

  def gradient(params: PyTree) -> PyTree:
    def loss(params: PyTree) -> jax.Array:
      everything = {**variables, "params": params}
      kept = [name for name in variables if name != "params"]
      (out, feats), _ = net.apply(everything, images, train=True, rngs=_dropout(), mutable=kept)
      if isinstance(out, (Dense, TwoStage)):
        floats = [one for one in _arrays(out) if one.dtype == jnp.float32]
        return sum((jnp.square(one - 1).mean() for one in floats), jnp.float32(0))
      # An auxiliary classifier's parameters are reached through its own logits.
      logits = (out, *feats.get("auxiliary_logits", ()))
      return sum((_likelihood(one) for one in logits), jnp.float32(0))

    return jax.grad(loss)(params)

  found = jax.device_get(jax.jit(gradient)(variables["params"]))
  for path, leaf in traverse_util.flatten_dict(found, sep="/").items():
    _require(bool(np.isfinite(leaf).all()), net, f"has finite gradients; that of {path!r} is not")
    _require(
      bool(np.abs(leaf).max() > 0), net, f"gives every parameter a gradient; that of {path!r} is 0"
    )


def _likelihood(logits: jax.Array) -> jax.Array:
  """Returns the mean log likelihood if image i, or its pixels, are of class i."""
  rows = jax.nn.log_softmax(logits).reshape(_BATCH, -1, logits.shape[-1]).mean(1)
  return rows[jnp.arange(_BATCH), jnp.arange(_BATCH) % logits.shape[-1]].mean()


def check_evaluation(net: nn.Module, image_shape: ImageShape) -> None:
  """Checks that an image's output in evaluation is finite, and does not depend on the others."""
  images = jax.random.normal(jax.random.key(2), (_BATCH, *image_shape))
  variables = initial(net, (2, *image_shape))

  def run(images: jax.Array) -> tuple[list[jax.Array], PyTree]:
    out, feats = net.apply(variables, images, train=False)
    return _arrays(out), jax.tree.map(lambda leaf: jnp.isfinite(leaf).all(), feats)

  (whole, finite), (part, _) = jax.jit(run)(images), jax.jit(run)(images[:2])
  pairs = zip(whole, part, strict=True)
  same = all(np.allclose(one[:2], other, rtol=1e-4, atol=1e-5) for one, other in pairs)
  _require(same, net, "gives an image the same output in any batch when train=False")
  for name, value in finite.items():
    _require(all(jax.tree.leaves(value)), net, f"has finite stages; {name!r} is not")


def check_equal_start(first: nn.Module, second: nn.Module, image_shape: ImageShape) -> None:
  """Checks that two nets start from equal kernels where names agree; paired experiments rest on it."""
  one, other = (
    traverse_util.flatten_dict(initial(net, (2, *image_shape))["params"]) for net in (first, second)
  )
  for path in [path for path in one if path[-1] == "kernel"]:
    # Each net is compiled as a whole, which may round the scale of a draw in another place.
    same = path in other and np.allclose(one[path], other[path], rtol=1e-5, atol=1e-6)
    _require(
      same,
      first,
      f"starts from the same {'/'.join(path)!r} with each norm: name submodules by hand",
    )


class Traced(NamedTuple):
  """Shapes of what a net returns in evaluation, of its variables, and of their updates in training."""

  out: PyTree
  feats: PyTree
  variables: PyTree
  updates: PyTree


@functools.cache
def trace(net: nn.Module, shape: tuple[int, ...]) -> Traced:
  """Returns the shapes of a net for images [batch, height, width, channels]; nothing is computed."""

  def run(images: jax.Array) -> tuple[PyTree, ...]:
    returned, variables = net.init_with_output(jax.random.key(0), images, train=False)
    kept = [name for name in variables if name != "params"]
    _require(
      isinstance(returned, tuple) and len(returned) == 2, net, "returns two values: (output, feats)"
    )
    try:
      _, updates = net.apply(variables, images, train=True, rngs=_dropout(), mutable=kept)
    except InvalidRngError as error:
      raise AssertionError(
        _broken(net, "draws from no other random stream than 'dropout'")
      ) from error
    return (*returned, variables, updates)

  return Traced(*jax.eval_shape(run, jax.ShapeDtypeStruct(shape, jnp.float32)))


@functools.cache
def initial(net: nn.Module, shape: tuple[int, ...]) -> PyTree:
  """Returns the variables of a net, which depend on the shape of the images but not on these."""
  return jax.jit(lambda images: net.init(jax.random.key(0), images, train=False))(jnp.zeros(shape))


def _dropout() -> dict[str, jax.Array]:
  return {"dropout": jax.random.key(1)}


def _broken(net: nn.Module | str, rule: str) -> str:
  name = net if isinstance(net, str) else type(net).__name__
  return f"a model {rule}; {name} breaks this rule"


def _require(condition: bool, net: nn.Module | str, rule: str) -> None:
  if not condition:
    raise AssertionError(_broken(net, rule))
