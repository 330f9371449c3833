"""What switchable norms prefer: weights by layer in the order of the layers, and their picture."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnlab.inspect.importance import importance_figure, importance_table
from cnnlab.models import create_model

SHAPE = (8, 8, 3)


@pytest.fixture(scope="module")
def network():
  model = create_model("resnet20", norm="switchable", blocks=1, width=0.25, num_classes=2)
  shapes = jax.eval_shape(
    lambda x: model.init(jax.random.key(0), x, train=False), jnp.zeros((1, *SHAPE))
  )
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes["params"])
  params["norm1"]["mean_weight"][:] = np.log([6.0, 3.0, 1.0])
  return model, params


def test_rows_follow_the_layers_and_hold_the_softmax(network):
  table = importance_table(*network, SHAPE)
  assert table["path"].iloc[0] == "norm1"
  assert table["path"].iloc[-1].startswith("stage3")
  first = table[(table["path"] == "norm1") & (table["moment"] == "mean")].iloc[0]
  np.testing.assert_allclose(first[["instance", "layer", "batch"]].to_list(), [0.6, 0.3, 0.1])
  np.testing.assert_allclose(table[["instance", "layer", "batch"]].sum(axis=1), 1)


def test_a_network_without_switchable_norm_has_no_rows():
  model = create_model("resnet20", blocks=1, width=0.25, num_classes=2)
  assert importance_table(model, {}, SHAPE).empty


def test_every_panel_shows_three_lines_with_their_numbers(network):
  table = importance_table(*network, SHAPE).assign(networks="batch size 4")
  figure = importance_figure(table, "networks")
  panels = figure.axes
  assert [panel.get_title(loc="left") for panel in panels] == [
    "mean, batch size 4", "variance, batch size 4",
  ]  # fmt: skip
  drawn = {line.get_label(): line.get_ydata()[0] for line in panels[0].lines[:3]}
  assert drawn == pytest.approx({"instance": 0.6, "layer": 0.3, "batch": 0.1})
