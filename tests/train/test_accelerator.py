"""What keeps an accelerator busy, as far as it shows without one: no waiting, no copies, types."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.extend.core import ClosedJaxpr, Jaxpr

from cnnlab import native
from cnnlab.data import Preprocess
from cnnlab.data.transforms import Crop, Flip
from cnnlab.runs.directory import RunDirectory
from cnnlab.runs.loggers import Loggers
from cnnlab.runs.pace import Pace
from cnnlab.train.interrupt import Interrupts
from cnnlab.train.loop import Session
from cnnlab.train.optim import Sgd, create_optimizer
from cnnlab.train.parallel import Parallel
from cnnlab.train.schedules import Plateau
from cnnlab.train.setup import prepare
from cnnlab.train.step import init_state, train_step
from tests.models.test_every_model import FAMILIES, IMAGES
from tests.models.test_every_model import tiny as tiny_net
from tests.train.conftest import tiny
from tests.train.test_step import BATCH, KEY, program


class Sealed:
  """A state that the host can pass on, and nothing else."""

  def __init__(self, state):
    self.state = state


def unsealed(state):
  return state.state if isinstance(state, Sealed) else state


class Loss:
  """A loss that the host can wait for; `lags` collects how many calls were started after it."""

  def __init__(self, session):
    session.calls += 1
    self.session, self.call = session, session.calls

  def block_until_ready(self):
    self.session.lags.append(self.session.calls - self.call)


class Watched(Session):
  """Between hooks that are due, the state is sealed and implicit transfers raise."""

  calls = 0

  def run_to_end(self, interrupts):
    self.lags = []
    with jax.transfer_guard("disallow"):
      return super().run_to_end(interrupts)

  def _restore_or_init(self):
    with jax.transfer_guard("allow"):
      return super()._restore_or_init()

  def _call(self, state, batches, count):
    state, _ = super()._call(unsealed(state), batches, count)
    return Sealed(state), Loss(self)

  def _hooks(self, state, step):
    if not (self.plan.logs(step) or self.plan.evaluates(step) or self.plan.saves(step)):
      return super()._hooks(state, step)
    with jax.transfer_guard("allow"):
      return super()._hooks(unsealed(state), step)


def test_between_logged_steps_the_host_reads_nothing_and_stays_ahead(tmp_path, monkeypatch):
  monkeypatch.setattr("cnnlab.train.loop.steps_in_flight", lambda: 2)
  monkeypatch.setattr("cnnlab.train.loop.draw_predictions", lambda *_: None)
  setup = prepare(tiny(max_steps=15, log_every_steps=10, steps_per_call=4), ())
  assert setup.data.train.constants  # the data set lives on the device
  run = RunDirectory(tmp_path / "run", setup.resolved)
  try:
    session = Watched(setup, run, Loggers(()), Pace())
    with Interrupts() as interrupts:
      assert session.run_to_end(interrupts)["step"] == 15
  finally:
    run.close()
  assert session.calls == 6  # of 4, 4, 1, 1, 4 and 1 steps
  assert session.lags == [2, 2, 2, 2]


def stateful_program():
  """A program whose state has every part: momentum, averages, statistics, the plateau rule."""
  plateau = Plateau(factor=0.1, patience=1, mode="max")
  return program(norm="batch", ema_decay=0.9, plateau=plateau)


@pytest.mark.parametrize(("mode", "steps"), [("jit", 1), ("pmap", 2)])
def test_each_array_of_the_state_is_updated_in_place(mode, steps):
  parallel, net = Parallel(mode, 12), stateful_program()
  shapes = jax.eval_shape(parallel.init(net), {}, BATCH, KEY)
  if steps == 1:
    lowered = parallel.train(net).lower(shapes, {}, BATCH, KEY)
  else:
    batches = {name: np.stack([array] * steps) for name, array in BATCH.items()}
    lowered = parallel.train_many(net).lower(shapes, {}, batches, KEY)
  header = lowered.compile().as_text().splitlines()[0]
  aliases = dict(re.findall(r"\{(\d+)\}: \((\d+), \{\}", header))
  count = len(jax.tree.leaves(shapes))
  assert count > 20
  if steps == 1:
    count -= 1  # the last learning rate, a number that is overwritten without being read
  assert aliases == {str(index): str(index) for index in range(count)}


def test_images_are_bytes_on_the_device_and_prepared_inside_the_step():
  setup = prepare(tiny(), ())
  constants = setup.parallel.put(setup.data.train.constants)
  assert {name: array.dtype.name for name, array in constants.items()} == {
    "image": "uint8",
    "label": "int32",
  }
  batch = next(setup.data.train.train_batches(0))
  assert {name: array.dtype.name for name, array in batch.items()} == {"index": "int32"}
  streamed = prepare(tiny(data__placement="stream", data__workers=0), ())
  try:
    assert next(streamed.data.train.train_batches(0))["image"].dtype == np.uint8
  finally:
    streamed.data.close()

  mean, scale = np.full(3, 127, np.float32), np.full(3, 60, np.float32)
  prepared = program(preprocess=Preprocess(mean, scale, (8, 8), (8, 8), (Crop(1), Flip())))
  state = jax.eval_shape(lambda: init_state(prepared, {}, BATCH, KEY))
  step = jax.make_jaxpr(lambda *inputs: train_step(prepared, *inputs))(state, {}, BATCH, KEY)
  images = [v.aval for v in step.jaxpr.invars if v.aval.shape[-3:] == BATCH["image"].shape[-3:]]
  assert [image.dtype for image in images] == [np.uint8]
  names = {equation.primitive.name for equation in equations(step.jaxpr)}
  assert "random_bits" in names or "threefry2x32" in names  # of the crops and flips


def equations(jaxpr):
  """Yields the equations of a jaxpr and of all that it calls."""
  for equation in jaxpr.eqns:
    yield equation
    inner = jax.tree.leaves(
      list(equation.params.values()), is_leaf=lambda x: isinstance(x, Jaxpr | ClosedJaxpr)
    )
    for called in inner:
      if isinstance(called, Jaxpr | ClosedJaxpr):
        yield from equations(getattr(called, "jaxpr", called))


@pytest.mark.parametrize("family", FAMILIES)
def test_bfloat16_multiplies_in_bfloat16_and_keeps_the_rest_in_float32(family):
  shape = IMAGES.get(family, (32, 32, 3))
  sgd, gradient_types = create_optimizer(Sgd()), set()

  def update(gradients, *args, **kwargs):
    gradient_types.update(leaf.dtype.name for leaf in jax.tree.leaves(gradients))
    return sgd.update(gradients, *args, **kwargs)

  net = dataclasses.replace(
    program(),
    model=tiny_net(family, dtype="bfloat16", num_classes=3),
    optimizer=optax.GradientTransformationExtraArgs(sgd.init, update),
    preprocess=Preprocess(
      np.full(shape[-1], 127, np.float32), np.full(shape[-1], 60, np.float32), shape[:2], shape[:2]
    ),
  )
  batch = {
    "image": jax.ShapeDtypeStruct((2, *shape), jnp.uint8),
    "label": jax.ShapeDtypeStruct((2,), jnp.int32),
  }
  with native.disabled():
    state = jax.eval_shape(lambda batch: init_state(net, {}, batch, KEY), batch)
    step, (after, loss) = jax.make_jaxpr(
      lambda state, batch: train_step(net, state, {}, batch, KEY), return_shape=True
    )(state, batch)
  products = [
    tuple(operand.aval.dtype.name for operand in equation.invars)
    for equation in equations(step.jaxpr)
    if equation.primitive.name in ("conv_general_dilated", "dot_general")
  ]
  assert len(products) > 5
  assert set(products) == {("bfloat16", "bfloat16")}
  assert gradient_types == {"float32"}
  assert loss.dtype == jnp.float32
  for tree in (state, after):
    kinds = {leaf.dtype.name for leaf in jax.tree.leaves(tree.replace(step=(), plateau=()))}
    assert kinds == {"float32"}
