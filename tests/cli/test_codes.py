"""`cnnlab codes`: the table, the files beside it, and what is refused before anything is written."""

import json

import numpy as np
import pandas as pd
import pytest

from cnnlab import codes
from cnnlab.cli.main import main


def test_layers_and_classifiers_make_a_table(digits_run, tmp_path, capsys):
  out = tmp_path / "out"
  command = ["codes", f"--workdir={digits_run}", "--layer=block1,pre_logits", f"--out={out}"]
  command += [
    "--classifier=svm,knn",
    "--values=1,3",
    "--grid=2",
    "--config.data.train_examples=100",
  ]
  assert main(command) == 0
  shown = capsys.readouterr().out
  rows = json.loads(shown.splitlines()[-1])["results"]
  pairs = [(row["layer"], row["classifier"]) for row in rows]
  assert pairs == [(a, b) for a in ("block1", "pre_logits") for b in ("svm", "knn")]
  expected = codes.extract(digits_run, "block1", grid=2, overrides={"data.train_examples": 100})
  score = codes.classify(expected, "svm", [1, 3])
  assert rows[0]["eval_error"] == score.eval_error
  assert rows[0]["strength"] == f"C = {score.value:g}"
  assert f"{100 * score.eval_error:.2f}" in shown
  assert rows == json.loads((out / "results.json").read_text())["results"]
  table = pd.read_csv(out / "results.csv")
  assert table["eval_error"].tolist() == [row["eval_error"] for row in rows]
  saved = np.load(out / "block1.npz")
  np.testing.assert_array_equal(saved["train_codes"], expected.train.codes)
  np.testing.assert_array_equal(saved["eval_labels"], expected.eval.labels)


@pytest.mark.parametrize(
  ("arguments", "words"),
  [
    (["--layer=block1,blok2"], "unknown value 'blok2' of --layer; did you mean 'block2'"),
    (["--classifier=smv"], "did you mean 'svm'"),
    (["--values=1,x"], "--values is '1,x'; allowed: numbers"),
    (["--values=-1"], "values of C for linear are [-1.0]"),
    (["--grid=-1"], "--grid is -1; allowed: 0 to 1000"),
    (["--layer=block1", "--grid=9"], "the stage has 4x4 positions"),
    (["--config.optim.learning_rate=1"], "'optim.learning_rate' has no effect on codes"),
    (["--config.data.eval_examples=0", "--config.data.name=nothing"], "nothing"),
  ],
)
def test_what_makes_no_sense_writes_nothing(digits_run, tmp_path, capsys, arguments, words):
  out = tmp_path / "out"
  assert main(["codes", f"--workdir={digits_run}", f"--out={out}", *arguments]) == 2
  assert words in capsys.readouterr().err
  assert not out.exists()
