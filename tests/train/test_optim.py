"""Optimisers and schedules against the formulas of their papers, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.config import apply_overrides
from cnnlab.defaults import default_config
from cnnlab.train.optim import create_optimiser
from cnnlab.train.schedules import create_plateau, create_schedule

RATE, DECAY, STEPS = 0.1, 0.01, 6
START = np.array([[1.0, -2.0], [0.5, 3.0]])
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 2, 2))


def config(**overrides):
  return apply_overrides(
    default_config(), {key.replace("__", "."): value for key, value in overrides.items()}
  )


def descend(**overrides):
  """Returns the parameter after some steps with fixed gradients."""
  section = config(optim__weight_decay=DECAY, **overrides).optim
  optimiser = create_optimiser(section)
  params = {"kernel": jnp.asarray(START, jnp.float32)}
  state = optimiser.init(params)
  for gradient in GRADIENTS:
    direction, state = optimiser.update(
      {"kernel": jnp.asarray(gradient, jnp.float32)}, state, params
    )
    params = jax.tree.map(lambda p, d: p - RATE * d, params, direction)
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
def test_an_optimiser_is_its_formula(overrides, reference):
  np.testing.assert_allclose(descend(**overrides), reference(START), rtol=2e-5)


def test_decay_can_skip_biases_and_norms():
  params = {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2), "scale": jnp.ones(2)}
  section = config(optim__decay_all=False, optim__weight_decay=DECAY).optim
  optimiser = create_optimiser(section)
  direction, _ = optimiser.update(
    jax.tree.map(jnp.zeros_like, params), optimiser.init(params), params
  )
  np.testing.assert_allclose(direction["kernel"], DECAY)
  np.testing.assert_array_equal(direction["bias"], 0)
  np.testing.assert_array_equal(direction["scale"], 0)


def test_clipping_limits_the_global_norm():
  params = {"a": jnp.zeros(2), "b": jnp.zeros(1)}
  section = config(optim__clip_norm=1.0, optim__weight_decay=0.0, optim__momentum=0.0).optim
  optimiser = create_optimiser(section)
  gradients = {"a": jnp.array([3.0, 0.0]), "b": jnp.array([4.0])}
  direction, _ = optimiser.update(gradients, optimiser.init(params), params)
  np.testing.assert_allclose(direction["a"], [0.6, 0.0], rtol=1e-6)
  np.testing.assert_allclose(direction["b"], [0.8], rtol=1e-6)


def rates(total=100, warmup=0, **overrides):
  schedule = create_schedule(
    config(**overrides).schedule, peak=1.0, total_steps=total, warmup_steps=warmup
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
  plateau = create_plateau(config(schedule__name="plateau", schedule__patience=2).schedule, mode)
  sign = 1 if mode == "min" else -1
  state, scales = plateau.init(), []
  for value in (0.5, 0.4, 0.4, 0.41, 0.3, 0.35, 0.31, 0.3):
    state = plateau.update(state, sign * value)
    scales.append(float(state.scale))
  np.testing.assert_allclose(scales, [1, 1, 1, 0.1, 0.1, 0.1, 0.01, 0.01], rtol=1e-6)
