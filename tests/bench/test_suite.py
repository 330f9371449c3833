"""The comparison of nets: what is compared, its shares and ratios, its table."""

import json

import pytest
from rich.console import Console

from cnnlab.bench import suite as suites
from cnnlab.bench.suite import Entry, Suite, ratios, run_suite, with_shares
from cnnlab.bench.table import suite_table
from cnnlab.cli.main import main
from cnnlab.errors import ConfigError
from cnnlab.models import create_model

RESULTS = [
  {
    "contender": "cnnlab",
    "model": "resnet20",
    "batch_size": 128,
    "images_per_s": 600.0,
    "step_ms": {"median": 200.0, "min": 190.0, "max": 250.0},
    "gflops_per_image": 0.08,
    "gbytes_per_step": 2.0,
    "compile_s": 3.0,
    "peak_memory_mb": 1000,
  },
  {
    "contender": "PyTorch",
    "model": "resnet20",
    "batch_size": 128,
    "images_per_s": 400.0,
    "step_ms": {"median": 320.0, "min": 310.0, "max": 330.0},
    "compile_s": 1.0,
    "peak_memory_mb": 500,
  },
  {"contender": "PyTorch", "model": "vgg16", "batch_size": 8, "error": "No module named 'x'"},
]
PEAKS = {"peak_flops": 2e11, "peak_bytes": 2e10}


def test_shares_count_three_forward_passes_and_ratios_are_of_cnnlab():
  results = with_shares(RESULTS, PEAKS)
  assert results[0]["flops_share"] == pytest.approx(3 * 0.08e9 * 600 / 2e11)
  assert results[0]["bytes_share"] == pytest.approx(2e9 / 0.2 / 2e10)
  assert results[1:] == RESULTS[1:]
  assert ratios(results) == {"resnet20": {"PyTorch": 1.5}}


def test_table_shows_every_result_and_every_error():
  results = with_shares(RESULTS, PEAKS)
  environment = {
    "python": "3.11", "platform": "Linux", "cpu_count": 2, "packages": {"jax": "0.10"},
    "devices": {"count": 1, "kind": "cpu"}, "convolutions": "XLA (off)",
  }  # fmt: skip
  report = {"environment": environment, **PEAKS, "results": results, "ratios": ratios(results)}
  console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
  console.print(suite_table(report, "float32"))
  text = console.export_text()
  for shown in (" 600 ", " 15 ", "1.5", "72 %", "50 %", "No module named 'x'", "200 GFLOP/s"):
    assert shown in text


def test_nets_of_the_suite_are_in_the_registry_and_unknown_ones_are_refused():
  for entry in suites.SUITE:
    create_model(entry.model, num_classes=entry.num_classes)
  with pytest.raises(ConfigError, match="unknown model 'resnet21' of the suite; did you mean"):
    Suite(("resnet21",))


def test_each_contender_is_timed_in_a_process_of_its_own(monkeypatch):
  monkeypatch.setattr(suites, "SUITE", (Entry("convnet", 8, 4, 4, 10),))
  monkeypatch.setattr(suites, "contenders", lambda platform: ("cnnlab", "XLA"))
  native, xla = run_suite(Suite(seconds=0.01, repeats=2), "cpu")
  assert native["contender"] == "cnnlab"
  assert native["images_per_s"] > 0
  assert xla["convolutions"] == "XLA (the native library is off)"


def test_a_file_of_results_is_never_overwritten(tmp_path, capsys):
  file = tmp_path / "speed.json"
  file.write_text("{}")
  assert main(["bench", "--suite", f"--json={file}"]) == 2
  assert "exists already" in capsys.readouterr().err
  assert json.loads(file.read_text()) == {}


@pytest.mark.parametrize(("name", "parameters"), [("resnet20", 269_722), ("all_cnn_c", 1_369_738)])
def test_pytorchs_nets_are_ours(name, parameters):
  pytest.importorskip("torch")
  from cnnlab.bench.pytorch import create

  network, source = create(name)
  assert source == "cnnlab"
  assert sum(p.numel() for p in network.parameters()) == parameters
