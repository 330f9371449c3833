"""Run directories as training writes them, without training: what the readers' tests read."""

import json


def write_run(
  directory,
  *,
  errors=(0.5, 0.25, 0.125),
  status="done",
  config=None,
  derived=None,
  total=None,
  **fields,
):
  """Writes a run of one evaluation an epoch, 10 steps each, with these test errors."""
  directory.mkdir(parents=True)
  about = {
    "total_steps": 10 * (total or len(errors)),
    "num_classes": 10,
    "parameters": 1000,
    "multiply_adds": 20000,
    "main_metric": ["eval/error", "min"],
  }
  content = {
    "seed": 0,
    "batch_size": 32,
    "dtype": "float32",
    "model": {"name": "convnet", "features": [16, 32]},
    "optim": {"learning_rate": 0.1},
  }
  for key, value in (config or {}).items():
    section, _, leaf = key.rpartition(".")
    (content.setdefault(section, {}) if section else content)[leaf] = value
  write_json(directory / "config.json", content | {"derived": about | (derived or {})})
  state = {
    "status": status,
    "reason": None,
    "pid": 1,
    "host": "elsewhere",
    "step": 10 * len(errors),
  }
  state |= {"total_steps": about["total_steps"], "seconds": 2.0 * len(errors)}
  write_json(directory / "status.json", state | fields)
  devices = {"platform": "cpu", "kind": "cpu", "count": 1}
  environment = {"python": "3.11", "devices": devices, "git": {"commit": "abcdef0123456789"}}
  write_json(directory / "environment.json", environment)
  rows, times = [], []
  for epoch, error in enumerate(errors, start=1):
    rows.append({"step": 10 * epoch - 5, "epoch": epoch - 0.5, "train/loss": 2 * error + 0.1})
    rows.append(
      {"step": 10 * epoch, "epoch": float(epoch), "train/loss": 2 * error, "eval/error": error}
    )
    times.append({"step": 10 * epoch, "seconds": 2.0 * epoch, "images_per_second": 3200.0})
  write_lines(directory / "metrics.jsonl", rows)
  write_lines(directory / "timing.jsonl", times)
  return directory


def write_json(path, value):
  path.write_text(json.dumps(value))


def write_lines(path, rows):
  path.write_text("".join(json.dumps(row) + "\n" for row in rows))
