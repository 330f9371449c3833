"""Waits for what another process or thread does."""

import time


def wait_until(condition, seconds=60, pause=0.02):
  """Waits until the condition holds; fails where the time is up before."""
  deadline = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < deadline, f"not reached within {seconds} s"
    time.sleep(pause)
