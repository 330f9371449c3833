"""The examples of docs/arithmetic.md, run as they stand there."""

import doctest


def test_every_number_on_the_page_is_what_python_prints(project):
  page = project / "docs" / "arithmetic.md"
  found = doctest.testfile(str(page), module_relative=False)
  assert found.failed == 0
  assert found.attempted >= 20
