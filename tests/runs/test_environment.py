"""environment.json keeps what earlier sessions ran on."""

import json

import pytest

from cnnlab.runs import environment


@pytest.fixture
def session(tmp_path, monkeypatch):
  """Records a session with so many devices; returns environment.json's content."""

  def record(count):
    devices = {"platform": "cpu", "kind": "cpu", "count": count}
    monkeypatch.setattr(environment, "describe_environment", lambda: {"devices": devices})
    environment.record_environment(tmp_path)
    return json.loads((tmp_path / "environment.json").read_text())

  return record


def test_other_devices_than_before_are_told_and_both_are_kept(session, caplog):
  session(1)
  assert "earlier" not in session(1)
  assert not caplog.text
  second = session(2)
  assert "the run began on 1 cpu (cpu) and goes on on 2 cpu (cpu)" in caplog.text
  assert second["devices"]["count"] == 2
  assert [one["devices"]["count"] for one in second["earlier"]] == [1]
  assert [one["devices"]["count"] for one in session(1)["earlier"]] == [1, 2]
