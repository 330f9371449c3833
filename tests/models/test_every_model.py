"""What holds for each classifier in the registry; a new family is tested by being registered.

A family's smallest net stands for it; `TINY` makes it cheap, `IMAGES` says what it looks at.
"""

import pytest

from cnnlab import testing
from cnnlab.models import create_model, list_models, model_options
from cnnlab.models.registry import family_of
from cnnlab.nn import NORMS

IMAGES = {
  "grammar": (8, 8, 1),
  "lenet": (32, 32, 1),
  "resnet": (16, 16, 3),
  "densenet": (16, 16, 3),
  "highway": (8, 8, 3),
}
TINY = {
  "alexnet": {"width": 0.0625, "stem": "cifar"},
  "all_cnn": {"width": 0.0625},
  "googlenet": {"width": 0.125, "stem": "cifar", "modules": ("3a", "4d", "5b")},
  "vgg": {"width": 0.0625, "convs": (1, 1, 1, 1, 2), "grid": "native"},
  "zfnet": {"width": 0.0625, "stem": "cifar", "initial": "kaiming"},
  "densenet": {"growth_rate": 4, "stem_features": 8, "blocks": (1, 2, 1), "bottleneck": True},
  "highway": {"stages": ((4, 4), (8, 8), (8,))},
  "vit": {"features": 24, "depth": 2, "heads": 3, "mlp_features": 32, "patch_size": 16},
  "grammar": {"features": (4, 6), "hidden": (8,)},
  "resnet": {
    "width": 0.125,
    "blocks": (1, 1, 1, 1),
    "stem": "cifar",
    "residual": True,
    "bottleneck": True,
  },
  "resnet_cifar": {"width": 0.25, "blocks": 1},
}
# In reverse, so that a family's first name is the last that is set.
SMALLEST = {family_of(name): name for name in reversed(list_models(output="classification"))}
FAMILIES = sorted(SMALLEST)


def image(family):
  return IMAGES.get(family, (32, 32, 3))


def tiny(family, **options):
  known = model_options(SMALLEST[family])
  chosen = {**TINY.get(family, {}), **options}
  return create_model(SMALLEST[family], **{k: v for k, v in chosen.items() if k in known})


def require_norm(family):
  if "norm" not in model_options(SMALLEST[family]):
    pytest.skip(f"{family} has no norm option")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("norm", NORMS)
def test_norms_leave_no_trace_of_each_other(family, norm):
  require_norm(family)
  net = tiny(family, norm=norm)
  testing.check_norm(net, norm, image(family))
  testing.check_outputs(net, image(family), net.num_classes)
  assert "pre_logits" in testing.trace(net, (2, *image(family))).feats


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("downsample", ["max", "avg", "stride"])
def test_downsampling_and_types(family, dtype, downsample):
  net = tiny(family, dtype=dtype, downsample=downsample, num_classes=7)
  testing.check_outputs(net, image(family), 7)
  shapes, reference = (
    {name: f.shape for name, f in testing.trace(one, (2, *image(family))).feats.items()}
    for one in (net, tiny(family, num_classes=7))
  )
  assert shapes == reference


@pytest.mark.parametrize("family", FAMILIES)
def test_options_fit_their_types(family):
  testing.check_options(SMALLEST[family])


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_are_finite_and_reach_every_parameter(family):
  testing.check_gradients(tiny(family), image(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_evaluation_is_deterministic_and_independent_of_the_batch(family):
  testing.check_evaluation(tiny(family), image(family))


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_names_and_shapes_start_from_equal_weights(family):
  """Paired ablations rest on it: initial weights depend on a module's path alone."""
  require_norm(family)
  nets = [tiny(family, norm=norm) for norm in ("batch", "weight")]
  testing.check_equal_start(*nets, image(family))
