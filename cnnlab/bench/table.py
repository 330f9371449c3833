"""The suite's results as a table."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

from cnnlab.bench.suite import CNNLAB
from cnnlab.types import Json


def suite_table(report: Json, dtype: str) -> Table:
  """Returns the table of a report of `cnnlab bench --suite`; its caption explains the columns."""
  environment, packages = report["environment"], report["environment"]["packages"]
  devices = environment["devices"]
  caption = (
    f"{devices['count']} x {devices['kind']} ({environment['cpu_count']} cores), "
    f"{environment['platform']}, Python {environment['python']}, jax {packages['jax']}; "
    f"convolutions of cnnlab: {environment['convolutions']}. "
    "Img/s: images per second, median of the repeats; ± %: half the distance of the fastest and "
    "the slowest. Ratio: how many times as fast cnnlab is. FLOP/s: share of the fastest matrix product, "
    f"{report['peak_flops'] / 1e9:,.0f} GFLOP/s. B/s: share of the fastest copy, "
    f"{report['peak_bytes'] / 1e9:,.0f} GB/s. First: seconds until the first step is done. GB: peak memory."
  )
  table = Table(
    title=f"Training step in {dtype}, synthetic images",
    caption=caption,
    box=SIMPLE_HEAD,
    pad_edge=False,
    padding=(0, 1, 0, 0),
  )
  table.add_column("net", no_wrap=True)
  table.add_column("by", no_wrap=True)
  for name in ("batch", "img/s", "± %", "ratio", "FLOP/s", "B/s", "first", "GB"):
    table.add_column(name, justify="right")
  previous = ""
  for result in report["results"]:
    model, contender = result["model"], result["contender"]
    if previous and model != previous:
      table.add_section()
    shown = model if model != previous else ""
    previous = model
    if "error" in result:
      table.add_row(shown, contender, str(result["batch_size"]), result["error"])
      continue
    table.add_row(
      shown,
      contender,
      str(result["batch_size"]),
      f"{result['images_per_s']:.4g}",
      _spread(result),
      "" if contender == CNNLAB else str(report["ratios"].get(model, {}).get(contender, "")),
      _share(result.get("flops_share")),
      _share(result.get("bytes_share")),
      f"{result['compile_s']:.1f}s",
      f"{result['peak_memory_mb'] / 1024:.1f}",
    )
  return table


def _spread(result: Json) -> str:
  times = result["step_ms"]
  return f"{50 * (times['max'] - times['min']) / times['median']:.0f}"


def _share(value: float | None) -> str:
  return "" if value is None else f"{100 * value:.0f} %"
