"""A trained network in use: predictions, inputs, embeddings, and its files for use elsewhere."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from sklearn.datasets import load_digits

from cnnlab.errors import ConfigError, DataError
from cnnlab.runs import load
from cnnlab.runs.export import ExportError, read_variables

DIGITS = (load_digits().images * 255 / 16).round().astype(np.uint8)


@pytest.fixture(scope="module")
def run(digits_run):
  return load(digits_run)


def test_predictions_are_those_of_the_network_on_centered_images(run):
  found = run.predict(DIGITS[:40])
  mean, scale = run.trained.preprocess.mean, run.trained.preprocess.scale
  inputs = (DIGITS[:40, ..., None].astype(np.float32) - mean) / scale
  np.testing.assert_allclose(run.preprocess(DIGITS[:40]), inputs, rtol=1e-6)
  logits, feats = run.model.apply(run.variables, inputs, train=False)
  np.testing.assert_allclose(found.probabilities, jax.nn.softmax(logits), atol=1e-6)
  np.testing.assert_allclose(run.embed(DIGITS[:40]), feats["pre_logits"], atol=1e-5)
  assert (found.labels == load_digits().target[:40]).mean() > 0.5
  assert found.classes == [str(label) for label in found.labels]


def test_the_table_has_a_row_for_each_image(run, tmp_path):
  for index in range(3):
    Image.fromarray(DIGITS[index]).resize((32, 32), Image.Resampling.NEAREST).save(
      tmp_path / f"{index}.png"
    )
  found = run.predict(tmp_path)
  assert list(found.table.index) == [str(tmp_path / f"{index}.png") for index in range(3)]
  assert list(found.table.columns) == ["class", "confidence", *map(str, range(10))]
  assert "<table" in found._repr_html_()
  assert len(found) == 3
  again = run.predict([Image.open(tmp_path / f"{index}.png") for index in range(3)])
  np.testing.assert_allclose(again.probabilities, found.probabilities, atol=1e-6)


def test_stages_are_pooled_or_whole_and_named_where_they_are_missing(run):
  whole = run.embed(DIGITS[:3], "block1", pooled=False)
  assert whole.shape == (3, 4, 4, 8)
  np.testing.assert_allclose(run.embed(DIGITS[:3], "block1"), whole.mean((1, 2)), rtol=1e-5)
  assert run.embed(DIGITS[0]).shape == (1, 128)
  with pytest.raises(
    ConfigError, match="'blok1' of the network; did you mean 'block1'.*pre_logits"
  ):
    run.embed(DIGITS[0], "blok1")
  with pytest.raises(DataError, match="no image is given"):
    run.predict([])


def test_the_best_checkpoint_predicts(run):
  best = run.best
  assert best.checkpoint.parent == run.directory / "checkpoints"
  assert best.predict(DIGITS[0]).probabilities.shape == (1, 10)


def test_variables_come_back_from_safetensors(run, tmp_path):
  file = run.export(tmp_path / "x.safetensors")
  again = read_variables(file)
  assert jax.tree.structure(again) == jax.tree.structure(dict(run.variables))
  jax.tree.map(np.testing.assert_array_equal, again, dict(run.variables))
  with safe_open(file, framework="numpy") as opened:
    told = json.loads(opened.metadata()["cnnlab"])
  assert told["class_names"] == [str(digit) for digit in range(10)]
  np.testing.assert_allclose(told["preprocess"]["mean"], run.trained.preprocess.mean)


def test_stablehlo_runs_where_there_is_no_cnnlab(run, tmp_path):
  """On batches of any size; the process below cannot import cnnlab or Flax."""
  file = run.export(tmp_path / "x.stablehlo", "stablehlo")
  np.save(tmp_path / "images.npy", DIGITS[:7, ..., None])
  code = (
    "import sys\n"
    "sys.modules['cnnlab'] = sys.modules['flax'] = None\n"
    "import numpy as np\n"
    "from jax import export\n"
    f"program = export.deserialize(open({str(file)!r}, 'rb').read())\n"
    f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
    "parts = [program.call(images[:5]), program.call(images[5:])]\n"
    f"np.save({str(tmp_path / 'out.npy')!r}, np.concatenate([p['probabilities'] for p in parts]))\n"
  )
  subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)
  expected = run.predict(DIGITS[:7]).probabilities
  np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, atol=1e-5)


def test_onnx_runtime_gives_the_same(run, tmp_path):
  pytest.importorskip("jax2onnx", reason="the extra cnnlab[onnx] is not installed")
  import onnxruntime

  file = run.export(tmp_path / "x.onnx", "onnx")
  session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
  for count in (1, 7):
    (found,) = session.run(["probabilities"], {"images": DIGITS[:count, ..., None]})
    np.testing.assert_allclose(found, run.predict(DIGITS[:count]).probabilities, atol=1e-5)


@pytest.mark.parametrize(
  ("arguments", "error", "message"),
  [
    (("x.bin", "safetensor"), ConfigError, "did you mean 'safetensors'"),
    (("x.bin", "stablehlo", "torchvision"), ConfigError, "is for safetensors"),
    (("x.bin", "safetensors", "torchvision"), ConfigError, "model 'convnet' of torchvision's"),
    (("there.bin", "safetensors"), ExportError, "exists; name a new file"),
  ],
)
def test_exports_that_make_no_sense_write_nothing(run, tmp_path, arguments, error, message):
  (tmp_path / "there.bin").write_bytes(b"kept")
  name, *rest = arguments
  with pytest.raises(error, match=message):
    run.export(tmp_path / name, *rest)
  assert [path.name for path in tmp_path.iterdir()] == ["there.bin"]
  assert (tmp_path / "there.bin").read_bytes() == b"kept"
