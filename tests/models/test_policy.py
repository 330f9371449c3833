"""Policy networks: counts that follow from the paper, shapes, and options."""

import jax
import jax.numpy as jnp
import pytest

from cnnlab.models import create_model, list_models
from cnnlab.nn import count_parameters

KEY = jax.random.key(0)


def shapes(net, planes=48, side=19):
  x = jax.ShapeDtypeStruct((2, side, side, planes), jnp.float32)
  return jax.eval_shape(lambda x: net.init_with_output(KEY, x, train=False), x)


def count(net, planes=48):
  return count_parameters(shapes(net, planes)[1]["params"])


# The methods' layer list with biases; the last layer has one for each of 361 points.
@pytest.mark.parametrize(
  ("filters", "planes", "parameters"),
  [
    (64, 48, 25 * 48 * 64 + 64 + 11 * (9 * 64 * 64 + 64) + 64 + 361),
    (128, 48, 1_777_641),
    (192, 48, 3_882_793),
    (256, 48, 6_798_953),
    (192, 4, 3_671_593),
    (192, 12, 3_709_993),
    (192, 20, 3_748_393),
  ],
)
def test_counts_follow_from_the_paper(filters, planes, parameters):
  assert count(create_model("alphago", filters=filters), planes) == parameters


def test_the_match_version_is_the_default():
  assert create_model("alphago").filters == 192


@pytest.mark.parametrize("options", [{}, {"norm": "batch", "preact": True}, {"bottleneck": True}])
def test_residual_nets_have_a_logit_for_each_point(options):
  net = create_model("policy_resnet", filters=8, blocks=2, **options)
  (logits, feats), _ = shapes(net, side=9)
  assert logits.shape == (2, 81)
  assert feats["pre_logits"].shape == (2, 9, 9, 32 if options.get("bottleneck") else 8)


def test_the_residual_net_costs_what_the_plain_one_does():
  plain = create_model("alphago", filters=16, depth=13)
  residual = create_model("policy_resnet", filters=16, blocks=6, norm="none")
  assert count(plain) == count(residual)


def test_both_are_listed_as_policies():
  assert list_models(output="policy") == ["alphago", "policy_resnet"]


def test_the_bias_of_a_point_moves_its_logit_alone():
  net = create_model("alphago", filters=4, depth=2)
  x = jax.random.normal(KEY, (1, 5, 5, 3))
  variables = net.init(KEY, x, train=False)
  before, _ = net.apply(variables, x, train=False)
  bias = variables["params"]["head"]["bias"].at[1, 2].add(3.0)
  variables["params"]["head"]["bias"] = bias
  after, _ = net.apply(variables, x, train=False)
  assert jnp.allclose(after - before, jnp.zeros(25).at[1 * 5 + 2].set(3.0), atol=1e-5)
