import pytest

from cnnlab.errors import RunError
from cnnlab.runs.files import check_folder


def test_a_folder_is_checked_without_leaving_anything(tmp_path):
  check_folder(tmp_path / "a" / "b")
  assert list(tmp_path.iterdir()) == []
  (tmp_path / "kept").mkdir()
  check_folder(tmp_path / "kept")
  assert (tmp_path / "kept").is_dir()
  (tmp_path / "file").write_text("x")
  with pytest.raises(RunError, match=r"file.*folder|folder.*file"):
    check_folder(tmp_path / "file" / "below")
  with pytest.raises(RunError):
    check_folder(tmp_path / "caf\udce9")
