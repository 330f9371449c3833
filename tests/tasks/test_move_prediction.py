"""The task of predicting moves: metrics, legality, symmetries, and a run from games to pictures."""

import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from cnnlab.cli.main import main
from cnnlab.config import apply_overrides, load_page
from cnnlab.errors import ConfigError
from cnnlab.go import Board
from cnnlab.go.kernels import BLACK, WHITE
from cnnlab.models import create_model
from cnnlab.nn import dihedral
from cnnlab.tasks.move_prediction import MovePrediction, MovePredictionSettings
from cnnlab.train import train
from cnnlab.train.restore import evaluate_run

WHOLE = SimpleNamespace(eval_crops="center", eval=lambda batch: batch)


def task(**settings):
  return MovePrediction(MovePredictionSettings(**settings))


def planes(board, color):
  bits = np.unpackbits(board.planes(color), axis=-1, bitorder="little")
  return jnp.asarray(bits[None], jnp.float32)


def test_metrics_are_those_of_a_plain_loop():
  rng = np.random.default_rng(0)
  out = rng.normal(size=(40, 361)).astype(np.float32)
  move = np.where(rng.random(40) < 0.5, out.argsort(-1)[:, -rng.integers(1, 8)], rng.integers(361))
  number, mask = rng.integers(1, 260, 40), (rng.random(40) < 0.8).astype(np.float32)
  batch = {"move": jnp.asarray(move), "number": jnp.asarray(number)}
  found = task().summarize(jax.device_get(task().metric_sums(jnp.asarray(out), batch, mask)))
  phases = {"opening": [], "middle game": [], "endgame": []}
  top5, losses = [], []
  for i in np.flatnonzero(mask):
    best = np.argsort(-out[i])
    phase = "opening" if number[i] <= 50 else "middle game" if number[i] <= 150 else "endgame"
    phases[phase].append(best[0] == move[i])
    top5.append(move[i] in best[:5])
    losses.append(np.log(np.exp(out[i]).sum()) - out[i, move[i]])
  hits = np.concatenate(list(phases.values()))
  assert found["count"] == len(hits)
  assert found["top1"] == pytest.approx(hits.mean())
  assert found["error"] == pytest.approx(1 - hits.mean())
  assert found["top5"] == pytest.approx(np.mean(top5))
  assert found["cross_entropy"] == pytest.approx(np.mean(losses), rel=1e-5)
  assert found["phase_top1"] == pytest.approx({name: np.mean(h) for name, h in phases.items()})


def test_illegal_moves_have_no_probability():
  board = Board()
  for point, color in ((1, WHITE), (19, WHITE), (100, BLACK)):
    board.play(point, color)
  net = create_model("alphago", filters=2, depth=1)
  image = planes(board, BLACK)
  variables = net.init(jax.random.key(0), image, train=False)
  _, out = task().evaluate(net, variables, WHOLE, {"image": image})
  probabilities = task().predict(out)["probabilities"][0]
  # The stones, and the corner where Black would have no liberty.
  assert np.flatnonzero(np.asarray(probabilities) == 0).tolist() == [0, 1, 19, 100]
  assert float(probabilities.sum()) == pytest.approx(1, abs=1e-5)


def test_the_average_over_symmetries_turns_with_the_board():
  net = create_model("alphago", filters=3, depth=2)
  image = jax.random.uniform(jax.random.key(1), (1, 9, 9, 48))
  variables = net.init(jax.random.key(0), image, train=False)
  bias = jax.random.normal(jax.random.key(2), (9, 9))
  variables["params"]["head"]["bias"] = bias

  @jax.jit
  def predict(image):
    _, out = task(symmetries=8).evaluate(net, variables, WHOLE, {"image": image})
    return task().predict(out)["probabilities"][0].reshape(9, 9)

  straight = predict(image)
  for number in (1, 4, 6):
    turned = predict(dihedral.transform(image[0], number)[None])
    np.testing.assert_allclose(turned, dihedral.transform(straight, number), atol=1e-6)


def test_only_policy_networks_and_the_planes_that_are_asked_for():
  with pytest.raises(ConfigError, match="resnet20"):
    task().network({"name": "resnet20"}, "float32")
  (seen,) = task(planes=12).inputs({"image": jnp.zeros((2, 19, 19, 48))}, train=True)
  assert seen.shape == (2, 19, 19, 12)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
  """A net that was trained for two steps on random games."""
  folder, rng = tmp_path_factory.mktemp("go"), np.random.default_rng(0)
  lines = []
  for name in range(60):
    points = rng.permutation(361)[:12]
    lines.append(f"{name}\t\t\t\t" + "".join(chr(97 + p % 19) + chr(97 + p // 19) for p in points))
  (folder / "games.tsv").write_text("\n".join(lines))
  (folder / "game.sgf").write_text("(;SZ[19]AB[dd];W[qd];B[dp];W[tt])")
  page = load_page("configs/go.py:tiny")
  overrides = {"data.name": f"go:{folder / 'games.tsv'}", "data.eval_examples": 20}
  train(apply_overrides(page, overrides), folder / "run")
  return folder


def test_a_run_from_games_to_pictures(run):
  metrics = [json.loads(line) for line in (run / "run" / "metrics.jsonl").read_text().splitlines()]
  last = {key: value for line in metrics for key, value in line.items()}
  assert last["eval/phase_top1/endgame"] is None
  assert 0 <= last["eval/top5"] <= 1
  with Image.open(run / "run" / "pictures" / "eval_0.png") as picture:
    assert picture.size == (700, 700)


def test_an_evaluation_may_average_over_symmetries(run):
  one, eight = (
    evaluate_run(run / "run", {"task.symmetries": count})["eval/cross_entropy"] for count in (1, 8)
  )
  assert eight == pytest.approx(one, rel=0.1)
  assert eight != one


def test_moves_of_a_game_are_predicted_and_drawn(run, capsys, tmp_path):
  arguments = ["predict", f"--workdir={run / 'run'}", "--json", f"--draw={tmp_path}"]
  moves = ["--move=1", "--move=3", "--move=4"]
  assert main([*arguments, *moves, str(run / "game.sgf")]) == 0
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert [(line["move"], line["played"]) for line in lines] == [(1, "R16"), (3, ""), (4, "")]
  for line in lines:
    assert line["probabilities"]["D16"] == 0
    assert sum(line["probabilities"].values()) == pytest.approx(1, abs=1e-4)
  assert sorted(file.name for file in tmp_path.iterdir()) == [f"game_{n}.png" for n in (1, 3, 4)]
  assert main([*arguments[:2], "--move=9", str(run / "game.sgf")]) == 2
  assert "has the moves 1 to 3" in capsys.readouterr().err
