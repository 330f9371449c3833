"""The step: micro-batches, frozen parts, losses with weights of their own."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnlab.data import Preprocess
from cnnlab.models import create_model
from cnnlab.tasks import Classification
from cnnlab.tasks.base import Loss
from cnnlab.train.optim import Sgd, create_optimizer, freeze_filter
from cnnlab.train.step import Program, init_state, train_step

RNG = np.random.default_rng(0)
BATCH = {
  "image": RNG.integers(0, 256, (12, 8, 8, 3), np.uint8),
  "label": RNG.integers(0, 3, 12).astype(np.int32),
}
KEY = jax.random.key(0)


def program(optim=None, norm="none", **changes):
  """A small net's program; the batch is given as it is."""
  optim = optim or Sgd()
  model = create_model("convnet", features=(4, 4), hidden=(), norm=norm, num_classes=3)
  plain = Program(
    model=model,
    task=Classification(("a", "b", "c")),
    optimizer=create_optimizer(optim),
    schedule=lambda step: 0.1,
    preprocess=Preprocess(np.full(3, 127, np.float32), np.full(3, 60, np.float32), (8, 8), (8, 8)),
    gather=lambda constants, batch: batch,
    eval_gather=lambda constants, batch: batch,
    freeze=freeze_filter(optim),
  )
  return dataclasses.replace(plain, **changes)


def step(program):
  state = init_state(program, {}, BATCH, KEY)
  return state, *jax.jit(lambda s: train_step(program, s, {}, BATCH, KEY))(state)


@pytest.mark.parametrize("parts", [2, 3, 12])
def test_micro_batches_add_up_to_the_large_batch(parts):
  _, whole, loss = step(program())
  _, accumulated, same_loss = step(program(accumulate=parts))
  np.testing.assert_allclose(loss, same_loss, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(whole), jax.tree.leaves(accumulated), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


class Weighted(Classification):
  """Only examples of class 0 count."""

  def loss(self, out, feats, batch, params):
    losses = self.example_losses(out, feats, batch)
    counts = (batch["label"] == 0).astype(jnp.float32)
    return Loss(jnp.sum(losses * counts), jnp.sum(counts))


def test_weights_are_divided_by_once_over_all_micro_batches():
  task = Weighted(("a", "b", "c"))
  _, whole, loss = step(program(task=task))
  _, accumulated, same_loss = step(program(task=task, accumulate=4))
  np.testing.assert_allclose(loss, same_loss, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(whole.params), jax.tree.leaves(accumulated.params), strict=True):
    np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


def test_what_is_frozen_keeps_its_weights_and_its_statistics():
  frozen = Sgd(groups=({"pattern": "block1*", "frozen": True},))
  before, after, _ = step(program(frozen, norm="batch"))
  for name in before.params:
    same = jax.tree.map(lambda a, b: bool((a == b).all()), before.params[name], after.params[name])
    assert all(jax.tree.leaves(same)) == name.startswith("block1"), name
  stats, new = before.model_state["batch_stats"], after.model_state["batch_stats"]
  for name in stats:
    unchanged = all(
      bool((a == b).all())
      for a, b in zip(jax.tree.leaves(stats[name]), jax.tree.leaves(new[name]), strict=True)
    )
    assert unchanged == name.startswith("block1"), name


def test_a_frozen_norm_normalizes_by_its_moving_averages():
  frozen = Sgd(groups=({"pattern": "block1_norm1", "frozen": True},))
  net = program(frozen, norm="batch")
  state = init_state(net, {}, BATCH, KEY)
  captured = []

  def watch(call, args, kwargs, context):
    result = call(*args, **kwargs)
    if isinstance(context.module, nn.BatchNorm):
      captured.append((context.module.path[-1], context.module.use_running_average))
    return result

  with nn.intercept_methods(watch):
    train_step(net, state, {}, BATCH, KEY)
  uses = dict(captured)
  assert uses["block1_norm1"] is True
  assert not all(uses.values())
