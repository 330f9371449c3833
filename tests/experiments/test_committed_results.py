"""What the committed reports say follows from the CSV files beside them."""

import pytest

from tests.conftest import PROJECT
from tests.lab.recompute import differences_from_report, has_what_it_takes

FOLDERS = sorted((PROJECT / "experiments").glob("*/results"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.parent.name)
def test_every_committed_verdict_is_recomputed(folder):
  if not has_what_it_takes(folder):
    pytest.skip("its claims.csv is of an older version")
  assert differences_from_report(folder) == []
