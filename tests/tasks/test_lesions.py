"""The task that measures errors without blocks: what it adds up, and what it refuses."""

import numpy as np
import pytest

from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import ConfigError
from cnnlab.tasks.lesions import LesionErrors
from cnnlab.train.setup import prepare


def test_errors_are_means_over_all_examples_whatever_the_batches():
  generator = np.random.default_rng(0)
  error, without = generator.integers(0, 2, 10), generator.random((10, 2))
  sums = LesionErrors((1, 4))
  for part in (slice(0, 7), slice(7, 10)):
    sums.add({"error": error[part], "errors_without": without[part]})
  found = sums.result()
  assert found["error_without"] == pytest.approx(
    {"1": without[:, 0].mean(), "4": without[:, 1].mean()}
  )
  added = without.mean(axis=0) - error.mean()
  assert found["error_added"] == pytest.approx({"1": added[0], "4": added[1]})


DIGITS = {
  "data.name": "digits",
  "data.centering": "channel",
  "data.crop_padding": 1,
  "data.flip": False,
}


@pytest.mark.parametrize(
  ("overrides", "message"),
  [
    ({"task.removed": (1, 5)}, r"5 blocks cannot be removed; the network has 4"),
    ({"task.removed": (0,)}, r"task\.removed"),
    ({"task.draws": 0}, r"task\.draws"),
    ({"model.name": "all_cnn_c"}, "has 0"),
    ({"data.resize": 10, "data.image_size": 8, "data.eval_crops": "ten"}, "use 'center'"),
  ],
)
def test_what_cannot_be_measured_is_refused_before_training(overrides, message):
  page = load_page("configs/cifar.py:tiny")
  options = {} if "model.name" in overrides else {"model.blocks": 2}
  config = apply_overrides(page, {"task.name": "lesions", **DIGITS, **options, **overrides})
  with pytest.raises(ConfigError, match=message):
    prepare(config)
