"""Every config key with nonsense."""

from __future__ import annotations

from pathlib import Path

from tests.drill.cases import Case, command, judge


def cases() -> list[Case]:
  return [
    Case("values: nan", f"optim.{k}=nan", _train, (k, "nan")) for k in ("momentum", "learning_rate")
  ]


def _train(directory: Path, key: str, value: str) -> str:
  return judge(
    command(
      "train",
      "--config=configs/digits.py:tiny",
      f"--workdir={directory}/run",
      f"--config.optim.{key}={value}",
      "--config.max_steps=2",
    ),
    may_succeed=False,
  )
