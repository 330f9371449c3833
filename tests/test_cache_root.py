import os

import pytest

from cnnlab.cache_root import cache_folder
from cnnlab.errors import ConfigError

pytestmark = pytest.mark.skipif(not hasattr(os, "getuid"), reason="permissions are those of Unix")


@pytest.fixture
def root(tmp_path, monkeypatch):
  monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "above" / "cache"))
  (tmp_path / "above" / "cache").mkdir(parents=True, mode=0o700)
  (tmp_path / "above").chmod(0o755)
  return tmp_path / "above" / "cache"


def test_folders_are_made_for_their_owner_alone(root):
  place = cache_folder("xla", "here")
  assert place == root / "xla" / "here"
  assert [p.stat().st_mode & 0o777 for p in (place, place.parent)] == [0o700, 0o700]


@pytest.mark.parametrize("mode", [0o777, 0o775, 0o1777])
@pytest.mark.parametrize("part", [".", "xla"])
def test_what_others_can_write_is_refused_with_the_way_to_mend_it(root, part, mode):
  (root / "xla").mkdir()
  (root / part).chmod(mode)
  with pytest.raises(ConfigError, match=r"other users.*CNNLAB_CACHE.*chmod -R go-w /.*cache"):
    cache_folder("xla")
  (root / part).chmod(mode & ~0o022)
  assert cache_folder("xla") == root / "xla"


def test_folders_above_may_be_written_by_all_only_if_sticky(root):
  root.parent.chmod(0o777)
  with pytest.raises(ConfigError, match=r"replaced by other users.*chmod o-w /.*above"):
    cache_folder("xla")
  root.parent.chmod(0o1777)
  assert cache_folder("xla") == root / "xla"


def test_links_are_followed_to_what_they_name(root, tmp_path, monkeypatch):
  (tmp_path / "link").symlink_to(root)
  monkeypatch.setenv("CNNLAB_CACHE", str(tmp_path / "link"))
  assert cache_folder() is not None
  root.chmod(0o777)
  with pytest.raises(ConfigError, match="other users"):
    cache_folder()


def test_another_users_is_refused(root, monkeypatch):
  monkeypatch.setattr(os, "getuid", lambda: 12_345)
  if root.stat().st_uid:  # what root owns may be used by all
    with pytest.raises(ConfigError, match="belongs to another user"):
      cache_folder()
  else:
    os.chown(root, 1, 1)
    with pytest.raises(ConfigError, match=r"belongs to another user \(1\)"):
      cache_folder()


def test_a_file_in_its_place_means_no_cache_and_one_warning(root, monkeypatch, caplog):
  monkeypatch.setenv("CNNLAB_CACHE", str(root / "file"))
  (root / "file").write_text("")
  assert [cache_folder("xla"), cache_folder("xla")] == [None, None]
  assert [record.getMessage() for record in caplog.records] == [
    f"nothing is cached: [Errno 17] File exists: '{root / 'file'}'"
  ]
