import json

import numpy as np
import pytest
from PIL import Image

from cnnlab.bench.input import input_config, input_page, usable_cores
from cnnlab.bench.pytorch_input import Job
from cnnlab.cli.main import main
from cnnlab.errors import ConfigError

TIMING = ("--seconds=0.01", "--repeats=2", "--workers=0")
NET = ("--model=convnet", "--option", "features=(2,2)", "--batch_size=4")


@pytest.fixture
def folder(tmp_path):
  """Two classes of 12 images of 12x10 pixels, without splits; returns the root."""
  rng = np.random.default_rng(0)
  for name in ("ant", "bee"):
    (tmp_path / "set" / name).mkdir(parents=True)
    for i in range(12):
      pixels = rng.integers(0, 256, (12, 10, 3), np.uint8)
      Image.fromarray(pixels).save(tmp_path / "set" / name / f"{i}.png")
  return tmp_path / "set"


def bench_input(capsys, *arguments):
  assert main(["bench", *arguments, *TIMING]) == 0
  return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_loader_step_and_both_are_timed_beside_pytorch(folder, capsys):
  result = bench_input(capsys, f"--input=folder:{folder}", *NET, "--image_size=8")
  assert {
    "data", "model", "batch_size", "image_size", "stored_size", "dtype", "workers", "cores",
    "devices", "first_batch_s", "cores_used", "loader", "step", "both", "both_share",
    "shared_limit", "pytorch", "loader_over_pytorch", "convolutions", "jax",
  } == result.keys()  # fmt: skip
  assert (result["workers"], result["batch_size"], result["image_size"]) == (0, 4, [8, 8])
  for part in ("loader", "step", "both"):
    found = result[part]
    assert set(found["batch_ms"]) == {"median", "min", "max"}
    assert found["images_per_s"] == pytest.approx(4e3 / found["batch_ms"]["median"], rel=0.01)
  assert 0.5 <= result["shared_limit"] <= 1
  if "error" in result["pytorch"]:
    assert "torch" in result["pytorch"]["error"]
    assert result["loader_over_pytorch"] is None
  else:
    assert result["pytorch"]["images_per_s"] > 0
    assert result["loader_over_pytorch"] > 0


def test_a_page_is_timed_with_its_overrides(capsys):
  result = bench_input(
    capsys, "--input=configs/digits.py:tiny", "--config.batch_size=6", "--config.dtype=bfloat16"
  )
  assert (result["data"], result["batch_size"], result["dtype"]) == ("digits", 6, "bfloat16")
  assert result["pytorch"]["error"] == "the DataLoader reads folder and tfds sets, not digits"


def test_a_set_is_decoded_by_all_cores_unless_told_otherwise():
  page = input_page("folder:somewhere")
  assert (page.data.name, page.data.flip) == ("folder:somewhere", True)
  config = input_config(page, {})
  assert (config.data.placement, config.data.workers) == ("stream", usable_cores())
  assert input_config(page, {"data.workers": 3}).data.workers == 3
  with pytest.raises(ConfigError, match=r"'data\.placement' is 'device'"):
    input_config(page, {"data.placement": "device"})


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    ([], ["--model", "--suite", "--input"]),
    (["--model=resnet20", "--suite"], ["give one of"]),
    (["--model=resnet20", "--workers=2"], ["--workers belongs to --input"]),
    (["--model=resnet20", "--config.seed=2"], ["--config.seed=2 belongs to --input"]),
    (["--input=configs/digit.py"], ["configs/digits.py"]),
    (["--input=folder:/nowhere"], ["'/nowhere' does not exist"]),
    (["--input=configs/digits.py", "--config.data.worker=2"], ["data.workers"]),
    (["--input=configs/digits.py", "--workers=-1"], ["'data.workers' is -1"]),
    (["--input=configs/digits.py", "--num_classes=3"], ["--num_classes belongs to --model"]),
    (["--input=configs/digits.py", "--repeats=0"], ["--repeats is 0"]),
  ],
)
def test_bad_input_gives_one_line(arguments, words, capsys):
  assert main(["bench", *arguments]) == 2
  error = capsys.readouterr().err
  assert "Traceback" not in error
  assert all(word in error for word in words), error


def test_pytorch_reads_the_same_files(folder):
  pytest.importorskip("torch")
  from cnnlab.bench.pytorch_input import Examples

  files = [str(folder / "ant" / "0.png"), str(folder / "bee" / "0.png")]
  examples = Examples(Job(files=files, labels=[0, 1], stored_size=(8, 8), image_size=(6, 6)))
  assert len(examples) == 2
  pixels, label = examples[1]
  assert (tuple(pixels.shape), str(pixels.dtype), label) == ((3, 6, 6), "torch.uint8", 1)
