"""Games as a data set: splits, order, placements, augmentation, and what is wrong with files."""

import jax
import numpy as np
import pytest

from cnnlab import data
from cnnlab.data import sources
from cnnlab.data.opening import open_sources
from cnnlab.data.settings import DataSettings
from cnnlab.errors import ConfigError, DataError
from cnnlab.go import kernels
from cnnlab.go.games import SIDE

GAMES = 40


@pytest.fixture(scope="module")
def games(tmp_path_factory):
  """A table of games that are random but legal: no two moves are the same point."""
  rng = np.random.default_rng(0)
  lines = []
  for name in range(GAMES):
    points = rng.permutation(SIDE * SIDE)[:12]
    moves = "".join(chr(97 + p % SIDE) + chr(97 + p // SIDE) for p in points)
    lines.append(f"{name}\t2003\t6.5\tB+R\t{moves}")
  path = tmp_path_factory.mktemp("go") / "games.tsv"
  path.write_text("\n".join(lines))
  return path


def load(path, **options):
  settings = DataSettings(name=f"go:{path}", **options)
  return data.load(settings, seed=0, batch_size=8, eval_batch_size=8)


def first_batch(loaded):
  batch = next(loaded.train.train_batches())
  return loaded.train.gather(loaded.train.constants, batch)


def test_streamed_and_stored_batches_are_equal(games):
  stored, streamed = (
    load(games, placement=placement, workers=0) for placement in ("device", "stream")
  )
  assert stored.train.num_examples + stored.eval.num_examples <= GAMES * 12
  assert stored.image_shape == (SIDE, SIDE, kernels.PLANES)
  one, other = first_batch(stored), first_batch(streamed)
  assert one["image"].shape == (8, SIDE, SIDE, kernels.PLANES // 8)
  for name in ("image", "move", "number"):
    np.testing.assert_array_equal(one[name], other[name])


def test_the_first_examples_are_of_many_games(games):
  numbers = first_batch(load(games, train_examples=8))["number"]
  assert len(set(np.asarray(numbers).tolist())) > 4


def test_planes_reach_the_network_as_ones_and_zeros_and_turn_with_the_move(games):
  loaded = load(games, transforms=("dihedral",))
  examples = first_batch(loaded)
  bits = np.unpackbits(np.asarray(examples["image"]), axis=-1, bitorder="little")
  plain = loaded.preprocess.eval(examples)
  np.testing.assert_array_equal(plain["image"], bits)
  turned = jax.jit(loaded.preprocess.train)(examples, jax.random.key(0))
  moved = 0
  for number in range(8):
    before = np.zeros((SIDE, SIDE, 1))
    before[divmod(int(examples["move"][number]), SIDE)] = 1
    after = np.zeros((SIDE, SIDE, 1))
    after[divmod(int(turned["move"][number]), SIDE)] = 1
    planes = np.concatenate([bits[number], before], -1)
    symmetric = [np.rot90(p, k) for p in (planes, planes.swapaxes(0, 1)) for k in range(4)]
    seen = np.concatenate([turned["image"][number], after], -1)
    assert any((seen == one).all() for one in symmetric)
    moved += bool((seen != planes).any())
  assert moved > 4


def test_a_user_is_told_what_is_wrong(games, tmp_path):
  broken, empty = tmp_path / "broken", tmp_path / "empty"
  broken.mkdir()
  empty.mkdir()
  (broken / "games.tsv").write_text(games.read_text())
  (broken / "bad.sgf").write_text("(;SZ[13])")
  cases = [
    (tmp_path / "none", {}, "data.name"),
    (empty, {}, "has no games"),
    (__file__, {}, "is no file of games"),
    (games, {"eval_split": "tset"}, "data.eval_split: unknown split 'tset'; did you mean 'test'"),
    (games, {"image_size": 9}, "data.image_size is 9"),
    (games, {"channels": 3}, "data.channels is 3"),
    (games, {"flip": True}, "flip cannot change the feature 'image'"),
    (games, {"mix": ("mixup",)}, "cannot mix the feature 'move'"),
    (broken, {}, "1 game cannot be read.*\n *bad.sgf: a board of 13x13"),
  ]
  for path, options, told in cases:
    with pytest.raises((DataError, ConfigError), match=told):
      load(path, **options)
  assert load(broken, max_bad_images=1).train.num_examples > 100


def test_a_validation_part_shares_no_game_with_the_training_set(games):
  source = open_sources(DataSettings(name=f"go:{games}")).train
  rest, part = sources.held_out(source, 0.3)
  assert sorted([*rest.indices, *part.indices]) == list(range(len(source)))
  of = source.groups()
  assert len(part)
  assert not set(of[rest.indices]) & set(of[part.indices])
