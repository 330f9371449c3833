"""To be written."""

from __future__ import annotations

from tests.drill.cases import Case


def cases() -> list[Case]:
  """Returns this part's cases."""
  return []
