"""Several steps compiled as one program: the same results, and hooks at the same steps."""

import contextlib
import json
import os
import signal

import jax
import numpy as np
import pytest

from cnnlab import native
from cnnlab.models import create_model
from cnnlab.runs import checkpoint
from cnnlab.train.interrupt import Interrupted
from cnnlab.train.loop import train
from cnnlab.train.parallel import Parallel
from cnnlab.train.setup import Plan
from tests.train.conftest import tiny
from tests.train.test_step import BATCH, KEY, program

# Steps that log, evaluate and save do not coincide, and no interval is a multiple of the 4 steps.
RUN = {
  "max_steps": 23,
  "log_every_steps": 10,
  "eval_every_epochs": 0.5,
  "checkpoint_every_epochs": 0.0,
  "checkpoint_every_steps": 7,
  "checkpoint_keep": 9,
  "ema_decay": 0.9,
  "model.dropout": 0.3,
  "schedule.name": "plateau",
  "schedule.patience": 1,
}


def assert_same(got, want, exact):
  """Compares two trees of arrays: bit for bit, or up to rounding."""
  leaves, other = jax.tree.leaves_with_path(got), jax.tree.leaves_with_path(want)
  assert [path for path, _ in leaves] == [path for path, _ in other]
  for (path, a), (_, b) in zip(leaves, other, strict=True):
    tolerance = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 2e-6}
    np.testing.assert_allclose(a, b, **tolerance, err_msg=jax.tree_util.keystr(path))


def metrics(workdir):
  return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


def saved_steps(workdir):
  return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir())


def test_a_run_gives_the_same_however_many_steps_a_call_has(tmp_path):
  """One of the two is also interrupted in the middle, between two calls."""
  one, many = tmp_path / "one", tmp_path / "many"
  train(tiny(**RUN), one)
  seen = []

  def interrupt(step, total):
    seen.append(step)
    if step == 14 and seen.count(14) == 1:
      os.kill(os.getpid(), signal.SIGTERM)

  with pytest.raises(Interrupted):
    train(tiny(**RUN, steps_per_call=4), many, progress=interrupt)
  train(tiny(**RUN, steps_per_call=4), many, progress=interrupt)
  assert seen == [4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 19, 20, 21, 22, 23]
  assert saved_steps(many) == saved_steps(one) == [7, 14, 21, 23]
  exact = native.enabled()  # XLA's own convolutions round differently inside a loop
  assert_same(checkpoint.restore(many)["state"], checkpoint.restore(one)["state"], exact)
  assert_same(metrics(many), metrics(one), exact)


@pytest.mark.parametrize(
  ("mode", "accumulate", "with_native"), [("pmap", 2, True), ("jit", 1, False)]
)
def test_a_call_of_several_steps_equals_as_many_calls_of_one(mode, accumulate, with_native):
  parallel = Parallel(mode, 12)
  net = create_model("convnet", features=(4, 4), hidden=(), dropout=0.3, num_classes=3)
  net_program = program(model=net, accumulate=accumulate)
  batches = [{name: np.roll(a, shift, 0) for name, a in BATCH.items()} for shift in range(3)]
  with contextlib.nullcontext() if with_native else native.disabled():
    state = parallel.init(net_program)({}, parallel.put_batch(BATCH), KEY)
    step, losses = parallel.train(net_program), []
    group = parallel.put_batches(batches)
    many, many_losses = parallel.train_many(net_program)(
      jax.tree.map(np.copy, state), {}, group, KEY
    )
    for batch in batches:
      state, loss = step(state, {}, parallel.put_batch(batch), KEY)
      losses.append(loss)
    exact = native.enabled()
  assert int(many.step) == 3
  assert_same((many, list(many_losses)), (state, losses), exact)


@pytest.mark.parametrize("steps_per_call", [1, 3, 8])
@pytest.mark.parametrize(("log", "evaluate", "save"), [(10, 0, ()), (8, 12, (9, 30)), (50, 50, ())])
def test_no_call_crosses_a_step_at_which_something_is_due(steps_per_call, log, evaluate, save):
  plan = Plan(47, 20, log, evaluate, save, 1, steps_per_call)
  due = {s for s in range(1, 48) if plan.logs(s) or plan.evaluates(s) or plan.saves(s)}
  step, lengths = 0, []
  while step < plan.total_steps:
    lengths.append(plan.next_call(step))
    assert not due & set(range(step + 1, step + lengths[-1]))
    step += lengths[-1]
  assert step == 47
  assert set(lengths) <= {1, steps_per_call}
  assert steps_per_call in lengths
