"""The checker of models finds what it is made to find, and passes what keeps the rules."""

import functools

import jax.numpy as jnp
import pytest
from flax import linen as nn

from cnnlab import testing
from cnnlab.models import register_model, registry
from cnnlab.nn import make_layers

IMAGE = (6, 6, 1)


class Net(nn.Module):
  """Keeps every rule with mode='', and breaks one with each other mode."""

  num_classes: int = 10
  norm: str = "batch"
  mode: str = ""
  dtype: str = "float32"

  @nn.compact
  def __call__(self, x, *, train):
    layers = make_layers(self.norm, "relu", train=train, dtype=self.dtype)
    if self.mode == "random" and train:
      x = x + jnp.zeros_like(self.make_rng("noise"), float).sum()
    if self.mode == "batch":
      x = x - x.mean(0)
    named = {} if self.mode == "unnamed" and self.norm == "weight" else {"name": "conv"}
    x = layers.conv(8, 3, padding=1, **named)(x)
    norm = make_layers("batch", train=train).norm if self.mode == "own" else layers.norm
    x = layers.act(norm(name="norm")(x))
    feats = {"stage1": x if self.mode != "stage" else x.mean()}
    feats["pre_logits"] = x = x.mean((1, 2))
    if self.mode == "unused":
      self.param("unused", nn.initializers.ones, (3,))
    if self.mode == "infinite":
      x = x * jnp.inf
    x = layers.dense(self.num_classes, name="head")(x)
    if self.mode == "alone":
      return x
    if self.mode == "shape":
      x = x[:, :-1]
    return x if self.mode == "type" else x.astype(jnp.float32), feats


@pytest.fixture(autouse=True)
def registered(monkeypatch):
  monkeypatch.setattr(registry, "_registered", {})
  register_model("net", Net)


def test_a_model_that_keeps_the_rules_passes():
  testing.check_model("net", IMAGE)


@pytest.mark.parametrize(
  ("mode", "message"),
  [
    ("alone", r"returns two values: \(output, feats\); Net breaks"),
    ("shape", r"an output of \(2, 7\), or \(2, 6, 6, 7\)"),
    ("type", "an output of float32, not bfloat16"),
    ("stage", r"stages \[batch, \.\.\.\]; 'stage1' is none"),
    ("random", "no other random stream than 'dropout'"),
    (
      "own",
      r"statistics of norm 'frozen_batch', \['bias', 'mean', 'scale', 'var'\], not \['mean', 'var'\]",
    ),
    ("unused", "gives every parameter a gradient; that of 'unused' is 0"),
    ("infinite", "finite gradients; that of '.*' is not"),
    ("batch", "the same output in any batch when train=False"),
    ("unnamed", "starts from the same 'conv/kernel' with each norm: name submodules"),
  ],
)
def test_each_broken_rule_is_found_and_named(monkeypatch, mode, message):
  if mode != "own":  # the others do without the ten traces
    monkeypatch.setattr(testing, "NORMS", ())
  skipped = {
    "check_gradients": mode not in ("unused", "infinite"),
    "check_evaluation": mode != "batch",
  }
  for check, skip in skipped.items():
    if skip:
      monkeypatch.setattr(testing, check, lambda net, shape: None)
  with pytest.raises(AssertionError, match=message):
    testing.check_model("net", IMAGE, mode=mode)


@pytest.mark.parametrize(
  ("model", "message"),
  [
    (functools.partial(Net, mode=3), "default of the type that is declared for 'mode', str; wrong"),
    (nn.Dense, "cannot be built"),
    (functools.partial(nn.Dropout, 0.1), "has a field 'num_classes'; wrong breaks this rule"),
  ],
)
def test_options_are_checked(model, message):
  register_model("wrong", model)
  with pytest.raises(Exception, match=message):
    testing.check_options("wrong")
