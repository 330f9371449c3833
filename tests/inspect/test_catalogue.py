"""The table of models: published multiply-adds, proofs, and the page that is made of them."""

import json

import pytest

from cnnlab.cli.main import main
from cnnlab.inspect import catalogue, describe
from cnnlab.models import create_model, list_models

# torchvision 0.29.2: `_ops` of the weights' metadata at 224 pixels (segmentation: 520), which it
# calls GFLOPS but which count a multiply-add as one operation.
GMACS = {
  "deeplabv3_resnet50": 178.722,
  "fcn_resnet50": 152.717,
  "alexnet": 0.714,
  "densenet121": 2.834,
  "densenet161": 7.728,
  "densenet169": 3.36,
  "densenet201": 4.291,
  "googlenet": 1.498,
  "resnet101": 7.801,
  "resnet152": 11.514,
  "resnet18": 1.814,
  "resnet34": 3.664,
  "resnet50": 4.089,
  "resnext101_32x8d": 16.414,
  "resnext101_64x4d": 15.46,
  "resnext50_32x4d": 4.23,
  "vgg11": 7.609,
  "vgg11_bn": 7.609,
  "vgg13": 11.308,
  "vgg13_bn": 11.308,
  "vgg16": 15.47,
  "vgg16_bn": 15.47,
  "vgg19": 19.632,
  "vgg19_bn": 19.632,
  "vit_b_16": 17.564,
  "vit_b_32": 4.409,
  "vit_h_14": 167.295,
  "vit_l_16": 61.555,
  "vit_l_32": 15.378,
  "wide_resnet101_2": 22.753,
  "wide_resnet50_2": 11.398,
}
# The nets that stand for the page's others: each family, quickly traced.
SAMPLE = (
  "alexnet",
  "alexnet_2012",
  "all_cnn_c",
  "convnet",
  "densenet_bc40_36",
  "fcn32s_vgg16",
  "googlenet_2014",
  "highway10_32",
  "lenet5",
  "plain20",
  "resnet18",
  "unet",
  "vgg16_bn",
  "vit_ti_32",
  "wrn28_10",
  "zfnet",
)


@pytest.fixture(scope="module")
def page(project):
  return (project / "docs" / "models.md").read_text()


@pytest.mark.parametrize("name", GMACS)
def test_multiply_adds_are_the_published_ones(name):
  found = describe(create_model(name), catalogue.image_shape(name))
  assert found.multiply_adds / 1e9 == pytest.approx(GMACS[name], rel=0.01)
  assert found.parameters == catalogue.published()[name]["parameters"]


def test_the_page_names_every_model_once(page):
  named = [line.split("`")[1] for line in page.splitlines() if line.startswith("| `")]
  assert sorted(named) == sorted(list_models()), "run `cnnlab models --table > docs/models.md`"


@pytest.mark.parametrize("name", SAMPLE)
def test_the_page_is_up_to_date(name, page):
  whole = catalogue.render([catalogue.entry(name)]).splitlines()
  assert set(whole) <= set(page.splitlines()), "run `cnnlab models --table > docs/models.md`"


def test_what_is_said_to_be_proven_by_outputs_has_a_fixture(project):
  proven = {name for name, known in catalogue.published().items() if known.get("outputs")}
  fixtures = {path.stem for path in (project / "tests" / "fixtures" / "parity").glob("*.json")}
  assert proven <= fixtures
  assert len(proven) >= 15
  assert set(catalogue.published()) <= set(list_models())


@pytest.mark.parametrize(
  ("known", "parameters", "expected"),
  [
    ({"parameters": 10, "source": "S"}, 10, ("10, S", "count")),
    ({"parameters": 10, "source": "S", "outputs": True}, 10, ("10, S", "outputs")),
    ({"parameters": 10, "source": "S", "outputs": True}, 11, ("10, S", "neither")),
    ({"millions": 1.5, "within": 0.05, "source": "S"}, 1_540_000, ("1.5 M, S", "printed digits")),
    ({"millions": 1.5, "within": 0.05, "source": "S"}, 1_560_000, ("1.5 M, S", "neither")),
    ({}, 10, ("", "neither")),
  ],
)
def test_what_a_count_proves(known, parameters, expected):
  assert catalogue._proof(known, parameters) == expected


def test_from_the_shell(capsys, page):
  assert main(["models", "resnet18", "--table"]) == 0
  assert set(capsys.readouterr().out.splitlines()) <= set(page.splitlines())


def test_published_figures_say_where_they_come_from():
  for name, known in catalogue.published().items():
    assert known["source"], name
    assert ("parameters" in known) != ("millions" in known), name
  json.dumps(catalogue.published())
