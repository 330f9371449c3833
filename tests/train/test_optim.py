"""Optimizers and schedules against the formulas of their papers, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cnnlab.config import apply_overrides
from cnnlab.defaults import default_config
from cnnlab.errors import ConfigError
from cnnlab.models import create_model, list_models
from cnnlab.settings import choose
from cnnlab.train.optim import OPTIMIZERS, Sgd, create_optimizer, decays, freeze_filter
from cnnlab.train.schedules import SCHEDULES, create_plateau, create_schedule

RATE, DECAY, STEPS = 0.1, 0.01, 6
START = np.array([[1.0, -2.0], [0.5, 3.0]])
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 2, 2))


def config(**overrides):
  return apply_overrides(
    default_config(), {key.replace("__", "."): value for key, value in overrides.items()}
  )


def optimizer_of(config):
  return create_optimizer(choose(OPTIMIZERS, config.optim.to_dict(), "optim"))


def schedule_of(config):
  return choose(SCHEDULES, config.schedule.to_dict(), "schedule")


def descend(**overrides):
  """Returns the parameter after some steps with fixed gradients."""
  optimizer = optimizer_of(config(optim__weight_decay=DECAY, **overrides))
  params = {"kernel": jnp.asarray(START, jnp.float32)}
  state = optimizer.init(params)
  for gradient in GRADIENTS:
    updates, state = optimizer.update(
      {"kernel": jnp.asarray(gradient, jnp.float32)}, state, params, learning_rate=RATE
    )
    params = optax.apply_updates(params, updates)
  return np.asarray(params["kernel"])


def sgd(w, momentum=0.9, nesterov=False):
  velocity = np.zeros_like(w)
  for gradient in GRADIENTS:
    gradient = gradient + DECAY * w
    velocity = momentum * velocity + gradient
    w = w - RATE * (gradient + momentum * velocity if nesterov else velocity)
  return w


def adam(w, decoupled):
  m, v = np.zeros_like(w), np.zeros_like(w)
  for t, gradient in enumerate(GRADIENTS, 1):
    gradient = gradient + (0 if decoupled else DECAY * w)
    m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
    update = (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
    w = w - RATE * (update + (DECAY * w if decoupled else 0))
  return w


def rmsprop(w):
  v, velocity = np.zeros_like(w), np.zeros_like(w)
  for gradient in GRADIENTS:
    gradient = gradient + DECAY * w
    v = 0.9 * v + 0.1 * gradient**2
    velocity = 0.9 * velocity + gradient / (np.sqrt(v) + 1e-8)
    w = w - RATE * velocity
  return w


def adagrad(w):
  total = np.zeros_like(w)
  for gradient in GRADIENTS:
    gradient = gradient + DECAY * w
    total = total + gradient**2
    w = w - RATE * gradient / np.sqrt(total)
  return w


@pytest.mark.parametrize(
  ("overrides", "reference"),
  [
    ({}, sgd),
    ({"optim__momentum": 0.0}, lambda w: sgd(w, momentum=0.0)),
    ({"optim__nesterov": True}, lambda w: sgd(w, nesterov=True)),
    ({"optim__name": "adam"}, lambda w: adam(w, decoupled=False)),
    ({"optim__name": "adamw"}, lambda w: adam(w, decoupled=True)),
    ({"optim__name": "rmsprop"}, rmsprop),
    ({"optim__name": "adagrad"}, adagrad),
  ],
)
def test_an_optimizer_is_its_formula(overrides, reference):
  np.testing.assert_allclose(descend(**overrides), reference(START), rtol=2e-5)


def test_decay_can_skip_biases_and_norms():
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(2)}
  optimizer = optimizer_of(config(optim__decay_all=False, optim__weight_decay=DECAY))
  direction, _ = optimizer.update(
    jax.tree.map(jnp.zeros_like, params), optimizer.init(params), params, learning_rate=-1.0
  )
  np.testing.assert_allclose(direction["kernel"], DECAY)
  np.testing.assert_array_equal(direction["bias"], 0)
  np.testing.assert_array_equal(direction["scale"], 0)


def test_clipping_limits_the_global_norm():
  params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
  plain = {"optim__weight_decay": 0.0, "optim__momentum": 0.0}
  optimizer = optimizer_of(config(optim__clip_norm=1.0, **plain))
  gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
  direction, _ = optimizer.update(gradients, optimizer.init(params), params, learning_rate=-1.0)
  np.testing.assert_allclose(direction["a"], [0.6, 0.0], rtol=1e-6)
  np.testing.assert_allclose(direction["b"], [0.8], rtol=1e-6)


def rates(total=100, warmup=0, **overrides):
  schedule = create_schedule(
    schedule_of(config(**overrides)), peak=1.0, total_steps=total, warmup_steps=warmup
  )
  return np.array([schedule(jnp.int32(step)) for step in range(total)])


def test_constant():
  np.testing.assert_array_equal(rates(schedule__name="constant"), 1.0)


def test_step_decay_drops_at_the_fractions():
  got = rates(schedule__name="step", schedule__boundaries=(0.5, 0.75))
  want = np.r_[np.ones(50), np.full(25, 0.1), np.full(25, 0.01)]
  np.testing.assert_allclose(got, want, rtol=1e-6)


def test_cosine_with_warm_up():
  got = rates(warmup=10, schedule__final_factor=0.1)
  np.testing.assert_allclose(got[:10], np.arange(1, 11) / 10, rtol=1e-6)
  cosine = 0.1 + 0.9 * 0.5 * (1 + np.cos(np.pi * np.arange(90) / 90))
  np.testing.assert_allclose(got[10:], cosine, rtol=1e-5)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_divides_by_ten_when_the_metric_stalls(mode):
  plateau = create_plateau(
    schedule_of(config(schedule__name="plateau", schedule__patience=2)), mode
  )
  sign = 1 if mode == "min" else -1
  state, scales = plateau.init(), []
  for value in (0.5, 0.4, 0.4, 0.41, 0.3, 0.35, 0.31, 0.3):
    state = plateau.update(state, sign * value)
    scales.append(float(state.scale))
  np.testing.assert_allclose(scales, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)


PARAMS = {
  "stem": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
  "stage1": {"conv": {"kernel": jnp.ones((2, 2))}},
  "head": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)},
}


def grouped(*groups, **fields):
  """Returns the first update of all-one gradients at a rate of 0.1, without momentum."""
  optimizer = create_optimizer(Sgd(momentum=0.0, groups=groups, **fields))
  gradients = jax.tree.map(jnp.ones_like, PARAMS)
  updates, _ = optimizer.update(gradients, optimizer.init(PARAMS), PARAMS, learning_rate=0.1)
  return updates


def test_groups_change_rate_and_decay_by_path_and_the_first_wins():
  updates = grouped(
    {"pattern": "stem", "frozen": True},
    {"pattern": "*/bias", "weight_decay": 0.0},
    {"pattern": "stage*|stem", "rate": 0.5, "weight_decay": 1.0},
    weight_decay=0.2,
  )
  assert all((leaf == 0).all() for leaf in jax.tree.leaves(updates["stem"]))
  np.testing.assert_allclose(updates["stage1"]["conv"]["kernel"], -0.1 * 0.5 * 2, rtol=1e-6)
  np.testing.assert_allclose(updates["head"]["kernel"], -0.1 * 1.2, rtol=1e-6)
  np.testing.assert_allclose(updates["head"]["bias"], -0.1, rtol=1e-6)


def test_what_is_frozen_is_known_by_path():
  settings = Sgd(groups=({"pattern": "stage1|*/scale", "frozen": True},))
  frozen = freeze_filter(settings)
  assert frozen(("stage1", "conv", "kernel"))
  assert frozen(("stem", "scale"))
  assert not frozen(("stage10", "conv", "kernel"))
  assert freeze_filter(Sgd(groups=({"pattern": "stem", "rate": 0.1},))) is None


@pytest.mark.parametrize(
  ("group", "message"),
  [
    ({"pattern": "stage2"}, r"unknown pattern in 'optim.groups' 'stage2'; did you mean 'stage1'"),
    ({"pattern": "stem", "rates": 1}, "did you mean 'rate'"),
    ({"rate": 1.0}, "needs a 'pattern'"),
    (
      {"pattern": "stem", "rate": -1.0},
      "'optim.groups.rate' is -1.0; allowed: float of 0 and more",
    ),
    ({"pattern": "stem", "frozen": 1}, "'optim.groups.frozen' is 1; allowed: bool"),
  ],
)
def test_groups_that_make_no_sense_are_named(group, message):
  with pytest.raises(ConfigError, match=message):
    grouped(group)


@pytest.mark.parametrize(
  "name",
  [
    n
    for n in list_models()
    if n
    in (
      "vit_ti_16",
      "resnet18",
      "densenet121",
      "lenet5",
      "alexnet",
      "googlenet",
      "highway20",
      "convnet",
    )
  ],
)
def test_decay_without_the_rest_acts_on_kernels_alone(name):
  net = create_model(name)
  side = {"lenet5": 32, "highway20": 32, "convnet": 32}.get(name, 224)
  image = jax.ShapeDtypeStruct((1, side, side, 1 if name == "lenet5" else 3), jnp.float32)
  rngs = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  params = jax.eval_shape(lambda x: net.init(rngs, x, train=False), image)["params"]
  paths = jax.tree_util.tree_leaves_with_path(params)
  names = {p[-1].key for p, leaf in paths if leaf.ndim > 1 and not decays((p[-1].key,))}
  assert names <= {"class_token", "pos_embedding"}, "of what has more than one axis"
  assert any(decays((p[-1].key,)) for p, _ in paths)
