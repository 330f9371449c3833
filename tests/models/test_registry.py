import functools
import types
from typing import Literal

import pytest
from flax import linen as nn

from cnnlab.errors import ConfigError
from cnnlab.models import create_model, describe_type, list_models, model_options, registry


def test_lists_by_pattern_in_natural_order():
  assert list_models("resnet[2-5]?") == [
    name
    for name in ("resnet20", "resnet32", "resnet34", "resnet44", "resnet50", "resnet56")
    if name in list_models()
  ]
  names = list_models()
  assert len(names) == len(set(names))
  assert names.index("plain20") < names.index("plain110") < names.index("resnet20")
  assert list_models("no such net") == []


def test_every_family_has_models_that_build_under_their_name():
  families = {registry.family_of(name) for name in list_models()}
  # Probes are named after any classifier; none is listed.
  assert families == set(registry.FAMILIES) - {"probe"}
  for name in list_models():
    assert isinstance(create_model(name), nn.Module)


def test_options_reach_the_net():
  net = create_model("resnet20", num_classes=7, width=2, norm="layer", shortcut="C")
  assert (net.num_classes, net.width, net.norm, net.shortcut) == (7, 2.0, "layer", "C")
  assert isinstance(net.width, float)
  assert create_model("convnet", features=[4, 8]).features == (4, 8)
  assert create_model("resnet56").blocks == 9


class Net(nn.Module):
  """A model of a user's own."""

  num_classes: int = 10
  width: float = 1.0
  norm: str = "batch"

  @nn.compact
  def __call__(self, x, *, train):
    return x.mean((1, 2)), {}


@pytest.fixture
def registered(monkeypatch):
  """Returns `register_model` with what it adds taken away after the test."""
  monkeypatch.setattr(registry, "_registered", {})
  return registry.register_model


def test_a_registered_model_is_like_any_other(registered):
  registered("my_net", Net)
  registered("my_wide_net", functools.partial(Net, width=2.0))
  assert list_models("my_*") == ["my_net", "my_wide_net"]
  assert set(list_models("my_*")) < set(list_models(output="classification"))
  assert model_options("my_wide_net")["width"].default == 2.0
  assert create_model("my_wide_net", num_classes=3) == Net(num_classes=3, width=2.0)
  assert create_model("my_wide_net", width=1).width == 1.0
  assert registry.module_of("my_wide_net") == __name__
  with pytest.raises(ConfigError, match="'my_nett'; did you mean 'my_net'"):
    create_model("my_nett")
  with pytest.raises(ConfigError, match="unknown value 'bath' of option 'norm' of model 'my_net'"):
    create_model("my_net", norm="bath")
  with pytest.raises(ConfigError, match="unknown option 'pretrained' of model 'my_net'"):
    create_model("my_net", pretrained=True)


def test_a_model_that_cannot_be_used_is_refused(registered):
  class Incomplete(nn.Module):
    num_classes: int

  registered("incomplete", Incomplete)
  with pytest.raises(ConfigError, match="'incomplete' cannot be built: .*num_classes.*a default"):
    create_model("incomplete")
  registered("number", lambda: 3)
  with pytest.raises(ConfigError, match="model 'number' is 3; allowed: a module of flax.linen"):
    create_model("number")
  with pytest.raises(ConfigError, match="unknown output 'clasification' of a model; did you mean"):
    registered("my_net", Net, output="clasification")


def test_options_are_described():
  options = model_options("resnet44")
  assert options["blocks"].default == 7
  assert describe_type(options["blocks"].type) == "int from 1 to 200"
  assert options["width"].default == 1.0
  assert "parent" not in options
  assert "name" not in options


@pytest.mark.parametrize(
  ("name", "options", "message"),
  [
    ("resnet21", {}, "unknown model 'resnet21'; did you mean .*'resnet20'"),
    ("resnet20", {"widht": 2}, "option 'widht' of model 'resnet20'; did you mean 'width'"),
    ("resnet20", {"width": "2"}, "option 'width' of model 'resnet20': '2' is not float"),
    ("resnet20", {"width": True}, "True is not float"),
    ("resnet20", {"blocks": 3.0}, "3.0 is not int"),
    ("resnet20", {"blocks": True}, "True is not int"),
    ("resnet20", {"preact": 1}, "1 is not bool"),
    ("resnet20", {"norm": None}, "None is not str"),
    (
      "resnet20",
      {"norm": "bacth"},
      "unknown value 'bacth' of option 'norm' of model 'resnet20'; did you mean 'batch'",
    ),
    ("lenet5", {"act": "rellu"}, "value 'rellu' of option 'act'.*'relu'.*scaled_tanh"),
    (
      "resnet50",
      {"pretrained": True},
      "no option 'pretrained': convert .*--model=resnet50.*init_from",
    ),
    (
      "resnet20",
      {"shortcut": "D"},
      "unknown value 'D' of option 'shortcut' of model 'resnet20'.*Allowed: A, B, C",
    ),
    ("resnet20", {"downsample": "maxx"}, "did you mean 'max'"),
    ("resnet20", {"output_stride": 3}, "3 is not one of 4, 2, 1"),
    ("resnet20", {"num_classes": "ten"}, "'ten' is not int"),
    ("resnet20", {"parent": None}, "unknown option"),
    ("convnet", {"features": 32}, "32 is not tuple"),
    ("convnet", {"features": [32, 6.5]}, "is not tuple"),
    ("convnet", {"features": "32"}, "is not tuple"),
  ],
)
def test_wrong_names_and_values_are_refused(name, options, message):
  with pytest.raises(ConfigError, match=message):
    create_model(name, **options)


@pytest.mark.parametrize(
  ("hint", "value", "fitted"),
  [
    (int | None, None, None),
    (int | None, 3, 3),
    (float | None, 3, 3.0),
    (tuple[int, str], [1, "a"], (1, "a")),
    (tuple[tuple[int, int], ...], [[1, 2], [3, 4]], ((1, 2), (3, 4))),
    (int | tuple[int, ...], [1], (1,)),
  ],
)
def test_types_that_fit(hint, value, fitted):
  assert registry._checked("option", value, hint) == fitted


@pytest.mark.parametrize(
  ("hint", "value"), [(int | None, 1.5), (tuple[int, str], [1]), (tuple[int, ...], [None])]
)
def test_types_that_do_not_fit(hint, value):
  with pytest.raises(ConfigError, match=f"option: {value!r} is not".replace("[", r"\[")):
    registry._checked("option", value, hint)


@pytest.mark.parametrize(
  ("hint", "words"),
  [
    (int, "int"),
    (Literal["A"], "'A'"),
    (Literal["A", "B", "C"], "'A', 'B' or 'C'"),
    (Literal[4, 2], "4 or 2"),
    (float | None, "float or None"),
    (tuple[int, ...], "tuple of int"),
    (tuple[int, int, int], "tuple of 3 int"),
    (tuple[tuple[int, ...], ...], "tuple of tuple of int"),
    (tuple[int, str], "tuple of (int, str)"),
  ],
)
def test_types_in_words(hint, words):
  assert describe_type(hint) == words


def test_no_option_is_described_in_python_terms():
  for name in list_models():
    for option in model_options(name).values():
      words = describe_type(option.type)
      assert not any(mark in words for mark in ("Literal", "<", "[", "typing")), words


def test_a_name_in_two_families_is_refused(monkeypatch):
  twin = types.SimpleNamespace(__name__="twin", SIZES={"resnet20": {}})
  original = registry.importlib.import_module
  monkeypatch.setattr(registry, "FAMILIES", ("resnet_cifar", "twin"))
  monkeypatch.setattr(
    registry.importlib,
    "import_module",
    lambda name: twin if name.endswith("twin") else original(name),
  )
  registry._table.cache_clear()
  try:
    with pytest.raises(ConfigError, match="'resnet20' is defined twice.*resnet_cifar and twin"):
      list_models()
  finally:
    registry._table.cache_clear()
