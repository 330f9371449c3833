"""A forest plot of an experiment's claims: the measured difference of each, beside its margin."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter

from cnnlab.lab.experiment import Experiment
from cnnlab.lab.report import limits, verdict_words, wording
from cnnlab.lab.report.looks import VERDICTS, draw_interval, name_rows
from cnnlab.lab.statistics.verdicts import Verdict
from cnnlab.plot_style import STYLE, WIDTH, note, page

_MOST_LETTERS = 32  # of a line beside the plot
_REGION = "#dcebdc"  # behind the differences of which the claim is true


class _Row(NamedTuple):
  """A claim in the unit of its axis."""

  number: int
  verdict: Verdict
  metric: wording.ShownMetric
  difference: float
  low: float
  high: float
  margin: float


def claims(experiment: Experiment, verdicts: Sequence[Verdict]) -> Figure | None:
  """Returns a plot of each claim's difference with its 95 % interval, in one panel per unit.

  Shaded is where the claim is true, up to its margin. Color and marker tell the verdict.

  Args:
    experiment: the experiment; it declares the metrics.
    verdicts: of `verdicts.judge`; their order numbers the rows.

  Returns:
    The figure, or None if no claim has a difference.
  """
  groups: dict[str, list[_Row]] = {}
  for number, verdict in enumerate(verdicts, start=1):
    if math.isfinite(verdict.difference):
      shown = wording.describe_metric(verdict.claim.metric, experiment.declared)
      groups.setdefault(shown.difference_unit or shown.name, []).append(
        _row(number, verdict, shown)
      )
  if not groups:
    return None
  heights = [len(rows) for rows in groups.values()]
  with matplotlib.rc_context(STYLE):
    figure = page(WIDTH, 0.9 + 0.42 * sum(heights) + 0.62 * len(heights))
    panels = figure.subplots(len(groups), 1, squeeze=False, height_ratios=heights)[:, 0]
    for axes, rows in zip(panels, groups.values(), strict=True):
      _panel(axes, rows)
    drawn = zip(panels, groups.values(), strict=True)
    beyond = any(not _reaches(axes, r.difference) for axes, rows in drawn for r in rows)
    panels[0].set_title("Claims: left side minus right side")
    _legend(figure, [v.verdict for v in verdicts])
    text = "Bar: 95 % interval. Shaded: where the claim is true. Numbers as in the table."
    note(figure, text + (" Arrow: the difference is beyond the axis." if beyond else ""))
  return figure


def _row(number: int, verdict: Verdict, shown: wording.ShownMetric) -> _Row:
  ends = (verdict.difference, verdict.low, verdict.high, verdict.claim.margin)
  return _Row(number, verdict, shown, *(shown.factor * x for x in ends))


def _panel(axes: Axes, rows: Sequence[_Row]) -> None:
  margins = [sign * r.margin for r in rows for sign in (1, -1) if sign > 0 or _equal(r)]
  centers, lows, highs = ([getattr(r, end) for r in rows] for end in ("difference", "low", "high"))
  found = limits.limits(centers, lows, highs, include=[0.0, *margins])
  axes.set_xlim(*(found or (-1.0, 1.0)))
  axes.axvline(0, color="black", lw=1, zorder=1)
  for place, row in enumerate(rows):
    _region(axes, place, row)
    ends = (row.low, row.high) if row.low != row.high else (math.nan, math.nan)
    draw_interval(axes, place, row.difference, ends, VERDICTS[row.verdict.verdict], named=False)
  several = len({row.metric.name for row in rows}) > 1
  name_rows(axes, [_name(row, several) for row in rows])
  axes.locator_params(axis="x", nbins=6)
  _values(axes, rows)
  if max(map(abs, axes.get_xlim())) >= 1e4:
    axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
  unit = rows[0].metric.difference_unit
  subject = "difference" if several else f"difference in {rows[0].metric.name}"
  axes.set_xlabel(f"{subject}{f' ({unit})' if unit else ''}")


def _reaches(axes: Axes, value: float) -> bool:
  left, right = axes.get_xlim()
  return left <= value <= right


def _name(row: _Row, with_metric: bool) -> str:
  """Returns the number and the formula of a claim, broken where it is long, and its metric."""
  claim = row.verdict.claim
  text = f"{row.number}: {verdict_words.short_formula(claim)}"
  if len(text) > _MOST_LETTERS:
    text = text.replace(f" {claim.relation} ", f"\n{claim.relation} ", 1)
  return f"{text}\n{row.metric.name}" if with_metric else text


def _equal(row: _Row) -> bool:
  return row.verdict.claim.relation == "=="


def _region(axes: Axes, place: int, row: _Row) -> None:
  """Shades where a claim is true, with a line at its margin."""
  left, right = axes.get_xlim()
  relation = row.verdict.claim.relation
  low, high = (-row.margin, row.margin) if _equal(row) else (left, row.margin)
  if relation in (">", ">="):
    low, high = row.margin, right
  axes.fill_between([max(low, left), min(high, right)], place - 0.4, place + 0.4, color=_REGION,
                    lw=0, zorder=0)  # fmt: skip
  for edge in (low, high) if _equal(row) else (row.margin,):
    axes.plot([edge, edge], [place - 0.4, place + 0.4], color="#4d7a4d", lw=1.2, zorder=2)


def _values(axes: Axes, rows: Sequence[_Row]) -> None:
  """Writes the numbers of each row at the right edge."""
  beside = axes.secondary_yaxis("right")
  texts = [verdict_words.interval_text(r.difference, r.low, r.high) for r in rows]
  beside.set_yticks(range(len(rows)), texts)
  beside.tick_params(length=0)
  beside.spines["right"].set_visible(False)


def _legend(figure: Figure, verdicts: Sequence[str]) -> None:
  handles: list[Line2D | Patch] = [
    Line2D([], [], color=look.color, marker=look.marker, ls="-", lw=2, ms=7, label=name,
           mew=2 if look.marker == "x" else 0)
    for name, look in VERDICTS.items()
    if name in verdicts
  ]  # fmt: skip
  figure.legend(handles=[*handles, Patch(color=_REGION, label="claim true")],
                loc="outside upper right", ncols=5, fontsize=8)  # fmt: skip
