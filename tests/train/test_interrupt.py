"""A signal at any time ends the run in order, and the same command goes on."""

import json
import os
import signal
import time

import pytest

from cnnlab.train import Interrupted, loop, train
from cnnlab.train.interrupt import Interrupts
from tests.train.conftest import tiny


def status(workdir):
  return json.loads((workdir / "status.json").read_text())["status"]


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_before_the_first_step_it_is_an_interruption_no_failure(workdir, monkeypatch, signum):
  begin = loop.Session._restore_or_init

  def signalled(self):
    state = begin(self)
    os.kill(os.getpid(), signum)
    return state

  before = signal.getsignal(signum)
  with monkeypatch.context() as patched:
    patched.setattr(loop.Session, "_restore_or_init", signalled)
    with pytest.raises(Interrupted, match="run the same command to resume") as caught:
      train(tiny(), workdir)
  assert caught.value.exit_code == 128 + signum
  assert status(workdir) == "interrupted"
  assert signal.getsignal(signum) is before
  train(tiny(), workdir)
  assert status(workdir) == "done"


def test_before_anything_is_written_nothing_is(workdir, monkeypatch):
  def signalled(*arguments):
    os.kill(os.getpid(), signal.SIGINT)

  monkeypatch.setattr(loop, "prepare", signalled)
  with pytest.raises(Interrupted, match="run the same command to start"):
    train(tiny(), workdir)
  assert not workdir.exists()


def test_between_steps_the_first_is_remembered_and_the_second_acts_at_once():
  def twice(interrupts):
    with interrupts, interrupts.between_steps():
      os.kill(os.getpid(), signal.SIGINT)
      assert interrupts.received == signal.SIGINT
      os.kill(os.getpid(), signal.SIGINT)

  with pytest.raises(Interrupted):
    twice(Interrupts())


def test_it_is_acknowledged_at_once(capsys):
  deadline = time.monotonic() + 10
  with Interrupts() as interrupts, interrupts.between_steps():
    os.kill(os.getpid(), signal.SIGTERM)
    shown = ""
    while "SIGTERM: stopping after this step, saving the run" not in shown:
      shown += capsys.readouterr().err
      assert time.monotonic() < deadline
      time.sleep(0.01)
