"""What became of a run, and of a sweep: the same for every launcher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from cnnlab.lab.plan import DAMAGED, REFUSED, RunSpec, damage


@dataclass(frozen=True)
class Outcome:
  """What became of a run: its status, the reason where it is not done, its result in words."""

  name: str
  status: str
  reason: str = ""
  result: str = ""
  seconds: float = 0.0


@dataclass
class SweepResult:
  """What became of a sweep.

  Attributes:
    outcomes: by run, those that were executed now and those that were skipped.
    interrupted: a signal stopped it; run the same command to resume.
  """

  outcomes: dict[str, Outcome] = field(default_factory=dict)
  interrupted: bool = False

  def named(self, *statuses: str) -> list[Outcome]:
    """Returns the outcomes of these statuses."""
    return [outcome for outcome in self.outcomes.values() if outcome.status in statuses]

  @property
  def exit_code(self) -> int:
    """0: every run is done, or submitted where that was asked for; 130: interrupted; 1: some run failed, diverged or was refused."""
    if self.interrupted:
      return 130
    return 0 if len(self.named("done", "submitted")) == len(self.outcomes) else 1


def opened(specs: Sequence[RunSpec], console: Console) -> tuple[SweepResult, list[RunSpec]]:
  """Returns the outcomes of the runs that need no training, printing refusals, and the other runs.

  A run that another process trains is among the others, since that process may die.
  """
  todo = [spec for spec in specs if spec.to_do or spec.state == "running"]
  result = SweepResult()
  for spec in specs:
    if spec not in todo:
      result.outcomes[spec.name] = outcome = _skipped(spec)
      if outcome.status == "refused":
        line = f"[red]refused[/]  {escape(spec.name)}: {escape(outcome.reason)}"
        console.print(line, highlight=False)
  return result, todo


def closed(specs: Sequence[RunSpec], result: SweepResult, console: Console) -> SweepResult:
  """Prints how to resume if the sweep was interrupted; returns its result."""
  if result.interrupted:
    done = len(result.named("done"))
    console.print(
      f"[yellow]Stopped:[/] {done} of {len(specs)} runs are done; the progress of the "
      "others is saved. Run the same command to resume.",
      highlight=False,
    )
  return result


def _skipped(spec: RunSpec) -> Outcome:
  if spec.state == REFUSED:
    reason = f"{spec.directory} was made from another config; move it away or use another --root"
    return Outcome(spec.name, "refused", reason)
  if spec.state == DAMAGED:
    reason = f"damaged: {damage(Path(spec.directory))}; move {spec.directory} away to train it anew"
    return Outcome(spec.name, "refused", reason)
  return Outcome(spec.name, spec.state)
