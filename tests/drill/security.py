"""Hostile weights, options, names and terminals; launchers that cannot start; damaged runs in a sweep."""

from __future__ import annotations

from tests.drill import bad_sweeps, bad_weights, injections, terminals
from tests.drill.cases import Case


def cases() -> list[Case]:
  """Returns this part's cases."""
  return [
    *bad_weights.weights(),
    *bad_weights.convert_arguments(),
    *terminals.escapes(),
    *injections.slurm(),
    *(
      Case(
        f"injection: {launcher}",
        "names and paths of runs",
        injections.hostile_names,
        (launcher,),
        240.0,
      )
      for launcher in ("local", "ray")
    ),
    *bad_sweeps.options(),
    *bad_sweeps.roots(),
    *bad_sweeps.damaged(),
  ]
