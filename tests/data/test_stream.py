import itertools
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cnnlab import data
from cnnlab.errors import DataError


def pair(section, name, **overrides):
  """The same set on the device and streamed."""
  return [
    data.load(
      section(name=name, placement=placement, **overrides), seed=4, batch_size=5, eval_batch_size=4
    )
    for placement in ("device", "stream")
  ]


def check_same(split, streamed, batches, stream_batches):
  count = 0
  for batch, found in zip(batches, stream_batches, strict=True):
    expected = split.gather(split.constants, batch)
    assert set(expected) == set(found)
    for name, value in expected.items():
      np.testing.assert_array_equal(value, found[name])
    count += 1
  return count


@pytest.mark.parametrize("start", [0, 3, 1000])
def test_both_placements_give_the_same_training_batches(folder, section, start):
  device, stream = pair(section, f"folder:{folder}", workers=0)
  assert (device.placement, stream.placement) == ("device", "stream")
  assert stream.train.constants == {}
  batches = itertools.islice(device.train.train_batches(start), 9)
  stream_batches = itertools.islice(stream.train.train_batches(start), 9)
  assert check_same(device.train, stream.train, batches, stream_batches) == 9
  np.testing.assert_array_equal(device.preprocess.mean, stream.preprocess.mean)
  np.testing.assert_array_equal(device.preprocess.scale, stream.preprocess.scale)
  stream.close()


def test_both_placements_evaluate_alike_and_again(folder, section):
  device, stream = pair(section, f"folder:{folder}", workers=0)
  for _ in range(2):
    batches = device.eval.eval_batches()
    assert check_same(device.eval, stream.eval, batches, stream.eval.eval_batches()) == 3
  next(stream.eval.eval_batches())  # broken off
  batches = device.eval.eval_batches()
  assert check_same(device.eval, stream.eval, batches, stream.eval.eval_batches()) == 3
  stream.close()


def test_worker_processes_give_the_same_batches(folder, section):
  device, stream = pair(section, f"folder:{folder}", workers=2)
  batches = itertools.islice(device.train.train_batches(2), 7)
  stream_batches = itertools.islice(stream.train.train_batches(2), 7)
  assert check_same(device.train, stream.train, batches, stream_batches) == 7
  stream.close()


def test_auto_streams_what_is_over_the_limit(folder, section):
  def placement(limit):
    config = section(name=f"folder:{folder}", image_size=512, device_limit_mb=limit, workers=0)
    return data.load(config, seed=0, batch_size=2, eval_batch_size=2).placement

  assert placement(16) == "device"  # 21 images of 0.75 MB
  assert placement(15) == "stream"


def test_hosts_share_a_streamed_batch(folder, section):
  config = section(name=f"folder:{folder}", placement="stream", workers=0)
  hosts = [
    data.load(config, seed=4, batch_size=6, eval_batch_size=4, process_index=i, process_count=count)
    for i, count in ((0, 1), (0, 2), (1, 2))
  ]
  whole, *parts = [next(host.train.train_batches(1))["image"] for host in hosts]
  np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.fixture
def damaged(folder):
  (folder / "train" / "bee" / "3.png").write_text("no image")
  (folder / "val" / "ant" / "0.png").write_text("no image")
  return folder


def test_unreadable_images_are_replaced_in_training_and_masked_in_evaluation(damaged, section):
  config = section(name=f"folder:{damaged}", placement="stream", workers=0, max_bad_images=1)
  found = data.load(config, seed=0, batch_size=7, eval_batch_size=4)
  epoch = list(itertools.islice(found.train.train_batches(0), 3))
  pixels = np.concatenate([batch["image"] for batch in epoch])
  assert len(np.unique(pixels, axis=0)) == 20  # bee/4.png twice in the place of bee/3.png
  assert np.bincount(np.concatenate([b["label"] for b in epoch])).tolist() == [7, 7, 7]
  assert len(found.train.skipped) == 1
  assert "bee/3.png" in found.train.skipped[0]
  masks = np.concatenate([batch["mask"] for batch in found.eval.eval_batches()])
  assert masks.tolist() == [False] + [True] * 8 + [False] * 3
  assert "ant/0.png" in found.eval.skipped[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_unreadable_images_stop_the_run(damaged, section, workers):
  config = section(name=f"folder:{damaged}", placement="stream", workers=workers)
  found = data.load(config, seed=0, batch_size=7, eval_batch_size=4)
  with pytest.raises(DataError, match=r"1 unreadable image, more than .*\(0\):\n.*bee/3\.png"):
    list(itertools.islice(found.train.train_batches(0), 3))
  found.close()


KILLED = """
import os, pathlib, signal, sys, time
from multiprocessing import shared_memory
from cnnlab import data
# Both in the workers, too: the second makes it likely that the end meets one that creates memory.
shared_memory._SHM_NAME_PREFIX = "/" + os.environ["NAMES"]
truncate = os.ftruncate
os.ftruncate = lambda *given: time.sleep(0.1) or truncate(*given)
if __name__ == "__main__":
  settings = data.DataSettings(name="folder:" + sys.argv[1], placement="stream", workers=1,
                               centering="none", image_size=256)
  found = data.load(settings, seed=0, batch_size=7, eval_batch_size=4)
  next(found.train.train_batches())
  print(*(path.read_text() for path in pathlib.Path("/proc/self/task").glob("*/children")), flush=True)
  print("memory", *(n for n in os.listdir("/dev/shm") if n.startswith(os.environ["NAMES"])), flush=True)
  os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not os.path.isdir("/dev/shm"), reason="shared memory is looked for on Linux")
def test_a_killed_run_leaves_no_process_and_no_shared_memory(folder, project, tmp_path):
  (tmp_path / "killed.py").write_text(KILLED)
  names = f"k{os.getpid() % 16**4:04x}_"  # Python allows 14 letters, the random ones included
  environment = {**os.environ, "PYTHONPATH": str(project), "NAMES": names}
  done = subprocess.run(
    [sys.executable, "killed.py", str(folder)],
    cwd=tmp_path, env=environment, stdout=subprocess.PIPE, check=False,
  )  # fmt: skip
  assert done.returncode == -signal.SIGKILL
  children, _, memory = done.stdout.decode().partition("memory")
  assert len(children.split()) >= 2  # a worker, and Python's tracker of shared memory
  assert memory.split()
  assert becomes_true(lambda: not any(map(lives, children.split())))
  assert becomes_true(lambda: not any(name.startswith(names) for name in os.listdir("/dev/shm")))


def becomes_true(check, seconds=20):
  for _ in range(seconds * 10):
    if check():
      return True
    time.sleep(0.1)
  return False


def lives(pid):
  """Whether a process runs; one that has ended may still be listed until somebody asks for its end."""
  try:
    stat = pathlib.Path(f"/proc/{int(pid)}/stat").read_text()
  except OSError:
    return False
  return stat.rpartition(")")[2].split()[0] != "Z"
