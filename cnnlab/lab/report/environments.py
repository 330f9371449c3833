"""The machines, versions and commits that a sweep's runs were made with, in words."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cnnlab.errors import RunError
from cnnlab.runs.loading import Run
from cnnlab.types import JsonMapping


def environments(sweep: Path, runs: pd.DataFrame) -> list[dict[str, str]]:
  """Returns a description of each environment of the runs, and the number of its runs."""
  counts: dict[str, int] = {}
  for relative in runs["directory"]:
    try:
      found = Run(sweep / relative).environment
    except RunError:
      continue
    if found:
      counts[describe(found)] = counts.get(describe(found), 0) + 1
  return [
    {"text": text, "runs": f"{count} run{'s' * (count > 1)}"} for text, count in counts.items()
  ]


def describe(environment: JsonMapping) -> str:
  """Returns what the environment.json of a run says; its host is not named."""
  devices = environment.get("devices") or {}
  git = environment.get("git") or {}
  packages = environment.get("packages") or {}
  commit = str(git.get("commit") or "unknown")[:12]
  state = " with uncommitted changes" if git.get("dirty") else ""
  versions = ", ".join(f"{name} {version}" for name, version in packages.items())
  model = environment.get("cpu_model")
  parts = [
    f"{devices.get('count', '?')} x {devices.get('kind', 'unknown device')} "
    f"({devices.get('platform', '?')})",
    f"{environment.get('cpu_count', '?')} CPU cores{f' ({model})' if model else ''}",
    str(environment.get("platform") or ""),
    f"Python {environment.get('python', '?')}",
    f"convolutions by {environment['convolutions']}" if environment.get("convolutions") else "",
  ]
  return f"{', '.join(part for part in parts if part)}; commit {commit}{state}; {versions}"
