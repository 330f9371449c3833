"""The cost of a sweep whose data set is missing is that of generated images."""

import pytest

from cnnlab.lab.plan import plan, resolve
from cnnlab.lab.stand_in import stand_in
from cnnlab.train import prepare
from tests.lab.conftest import make_experiment

ASKED = {"data.name": "tfds:cifar10", "data.dir": "nowhere", "data.train_examples": 64}


def spec_of(tmp_path, **overrides):
  experiment = make_experiment(config="configs/digits.py:tiny", overrides=overrides)
  return plan(experiment, tmp_path, only="base", seeds=1)[0]


@pytest.mark.parametrize(
  ("more", "shape", "evaluated"),
  [
    ({"data.image_size": 16}, (16, 16, 3), 64),
    (
      {"data.image_size": (8, 12), "data.channels": 1, "data.eval_examples": 30},
      (8, 12, 1),
      30,
    ),
  ],
)
def test_it_has_the_images_that_the_config_asks_for(tmp_path, more, shape, evaluated):
  spec = stand_in(spec_of(tmp_path, **ASKED, **more))
  setup = prepare(resolve(spec), spec.overrides)
  assert setup.data.image_shape == shape
  assert setup.data.train.num_examples == 64
  assert setup.data.eval.num_examples == evaluated


def test_there_is_none_where_the_config_does_not_tell_size_or_number(tmp_path):
  assert stand_in(spec_of(tmp_path, **ASKED)) is None
  assert stand_in(spec_of(tmp_path, **{"data.name": "tfds:cifar10", "data.image_size": 8})) is None
