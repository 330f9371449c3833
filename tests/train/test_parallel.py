"""Several devices give what one gives; the per-device mode has batch statistics of its own."""

import functools
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

SCRIPT = """
import json, sys
import jax, jax.numpy as jnp, numpy as np
from cnnlab.data import Preprocess
from cnnlab.models import create_model
from cnnlab.tasks import Classification
from cnnlab.train.compile_cache import enable_compile_cache
from cnnlab.data.transforms import Crop, Flip
from cnnlab.train.optim import Sgd, create_optimizer
from cnnlab.train.parallel import Parallel
from cnnlab.train.step import Program

enable_compile_cache()
mode, devices, first, last, steps, augment, one_call = sys.argv[1], *map(int, sys.argv[2:-1])
assert jax.device_count() == devices
preprocess = Preprocess(
  mean=np.full(3, 100, np.float32), scale=np.full(3, 50, np.float32),
  stored_size=(16, 16), image_size=(16, 16), transforms=(Crop(2), Flip()) if augment else (),
)
net = dict(features=(4, 8), hidden=(), convs_per_block=1, norm=sys.argv[-1], num_classes=3)
program = Program(
  model=create_model("convnet", **net), task=Classification(("a", "b", "c")),
  optimizer=create_optimizer(Sgd()), schedule=lambda step: 0.1,
  preprocess=preprocess, gather=lambda c, b: b, eval_gather=lambda c, b: b,
)
rng = np.random.default_rng(0)
images, labels = rng.integers(0, 256, (8, 16, 16, 3), np.uint8), rng.integers(0, 3, 8).astype(np.int32)
batch = {"image": images[first:last], "label": labels[first:last]}
parallel = Parallel(mode, last - first)
key = parallel.put(jax.random.key(0))
state = parallel.init(program)({}, parallel.put_batch(batch), key)
if one_call:
  batches = parallel.put_batches([batch] * steps)
  state, losses = parallel.train_many(program)(state, {}, batches, key)
else:
  step = parallel.train(program)
  for _ in range(steps):
    state, loss = step(state, {}, parallel.put_batch(batch), key)
sums = {n: jnp.zeros(()) for n in ("cross_entropy", "top1", "top5", "count")}
masked = parallel.put_batch(batch | {"mask": np.arange(last - first) < last - first - 1})
sums, _ = parallel.evaluate(program)(state, {}, masked, parallel.put(sums))
flat = lambda tree: np.concatenate([[], *(np.ravel(x) for x in jax.tree.leaves(tree))]).tolist()
print(json.dumps({
  "params": flat(state.params), "stats": flat(state.model_state),
  "metrics": {k: float(v) for k, v in state.metrics.items()},
  "sums": {k: float(v) for k, v in sums.items()},
}))
"""


@functools.cache
def run(mode, devices, examples=(0, 8), steps=2, augment=1, norm="batch", one_call=0):
  """Trains on some of eight images in a process with that many devices."""
  environment = os.environ | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
  arguments = [mode, *map(str, (devices, *examples, steps, augment, one_call)), norm]
  done = subprocess.run(
    [sys.executable, "-c", SCRIPT, *arguments],
    capture_output=True, text=True, check=False, timeout=300, env=environment,
    cwd=pathlib.Path(__file__).parents[2],
  )  # fmt: skip
  assert done.returncode == 0, done.stderr
  return json.loads(done.stdout.splitlines()[-1])


def test_the_global_batch_is_the_same_on_any_number_of_devices():
  one, two = run("jit", 1), run("jit", 2)
  np.testing.assert_allclose(two["params"], one["params"], atol=2e-5)
  np.testing.assert_allclose(two["stats"], one["stats"], atol=2e-5)
  assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)
  assert two["sums"] == pytest.approx(one["sums"], rel=1e-4)
  assert two["sums"]["count"] == 7


def test_each_device_has_batch_statistics_of_its_own_and_gradients_are_averaged():
  # The first step of SGD is linear in the gradient: the mean of what the halves give alone.
  both = run("pmap", 2, steps=1, augment=0)
  halves = [run("jit", 1, examples, steps=1, augment=0) for examples in ((0, 4), (4, 8))]
  for name in ("params", "stats"):
    np.testing.assert_allclose(both[name], np.mean([half[name] for half in halves], 0), atol=1e-5)
  assert both["metrics"]["count"] == 8
  assert both["metrics"]["loss"] == pytest.approx(np.mean([h["metrics"]["loss"] for h in halves]))
  whole = run("jit", 2, steps=1, augment=0)
  assert np.abs(np.subtract(whole["params"], both["params"])).max() > 1e-3


def test_augmentation_does_not_depend_on_the_number_of_devices():
  # Without batch statistics the two modes compute the same, if they see the same crops and flips.
  one, two = run("jit", 1, norm="none"), run("pmap", 2, norm="none")
  np.testing.assert_allclose(two["params"], one["params"], atol=2e-5)
  assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4)


def test_several_devices_share_each_batch_of_a_call_of_several_steps():
  calls, call = run("pmap", 2, norm="none"), run("pmap", 2, norm="none", one_call=1)
  np.testing.assert_allclose(call["params"], calls["params"], atol=1e-6)
  assert call["metrics"] == pytest.approx(calls["metrics"], rel=1e-5)
