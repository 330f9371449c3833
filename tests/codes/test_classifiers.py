"""Classifiers on codes: their choice of a strength, against a plain loop, and what they refuse."""

import numpy as np
import pytest
from scipy.optimize import minimize

from cnnlab.codes import CLASSIFIERS, Codes, Part, classify
from cnnlab.errors import ConfigError


def clouds(examples, seed, spread=1.0, classes=3):
  """Gaussian clouds around the corners of a simplex, with two features of no use."""
  rng = np.random.default_rng(seed)
  labels = np.arange(examples) % classes
  found = np.eye(classes)[labels] * 3 + rng.normal(0, spread, (examples, classes))
  useless = rng.normal(5, 20, (examples, 2))
  return Part(np.concatenate([found, useless], 1).astype(np.float32), labels.astype(np.int32))


def made(train=60, spread=1.0):
  return Codes("layer", (5,), clouds(train, 0, spread), clouds(300, 1, spread), ("a", "b", "c"))


def standardized(codes):
  mean, deviation = codes.train.codes.mean(0), codes.train.codes.std(0)
  return [(part.codes - mean) / deviation for part in (codes.train, codes.eval)]


def test_logistic_regression_is_the_minimum_of_its_loss():
  codes = made()
  score = classify(codes, "linear", [0.1])
  train, evaluated = standardized(codes)
  target = np.eye(3)[codes.train.labels]

  def loss(weights):
    kernel, bias = weights[:15].reshape(5, 3), weights[15:]
    logits = train @ kernel + bias
    log_sum = np.log(np.exp(logits).sum(1))
    return (log_sum - (logits * target).sum(1)).sum() * 0.1 + 0.5 * (kernel**2).sum()

  best = minimize(loss, np.zeros(18), method="BFGS").x
  logits = evaluated @ best[:15].reshape(5, 3) + best[15:]
  assert np.mean(logits.argmax(1) != score.predictions) < 0.01
  assert score.eval_error == pytest.approx(np.mean(logits.argmax(1) != codes.eval.labels), abs=0.01)
  assert (score.value, score.validation_errors, score.converged) == (0.1, {}, True)


def test_nearest_neighbors_are_those_of_a_plain_loop():
  codes = made()
  score = classify(codes, "knn", [1])
  train, evaluated = standardized(codes)
  nearest = [codes.train.labels[((train - one) ** 2).sum(1).argmin()] for one in evaluated]
  assert score.predictions.tolist() == nearest
  assert score.train_error == 0


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_the_strength_of_the_least_cross_validated_error_is_chosen(name):
  score = classify(made(spread=2.0), name)
  least = min(score.validation_errors.values())
  simplest_first = [v for v in score.validation_errors if score.validation_errors[v] == least]
  assert score.value == simplest_first[0]
  assert list(score.validation_errors) == sorted(score.validation_errors, reverse=name == "knn")
  assert len({*score.validation_errors.values()}) > 1
  assert score.eval_error < 0.4  # of 0.67 by chance
  assert (score.train_examples, score.eval_examples) == (60, 300)


def test_few_examples_do_with_one_value():
  codes = made(train=3)
  with pytest.raises(ConfigError, match="3 training examples, one of a class, are too few"):
    classify(codes, "linear")
  assert classify(codes, "linear", [1.0]).train_error == 0
  assert classify(made(train=6), "svm").value in CLASSIFIERS["svm"].values


@pytest.mark.parametrize(
  ("name", "values", "message"),
  [
    ("svn", None, "unknown classifier 'svn'; did you mean 'svm'"),
    ("linear", [0.0, 1.0], r"values of C for linear are \[0.0, 1.0\]; allowed: numbers over 0"),
    ("knn", [1.5], "allowed: whole numbers from 1 to 60"),
    ("knn", [1, 31], "allowed: whole numbers from 1 to 30"),
    ("svm", [], "values of C for svm are"),
  ],
)
def test_what_makes_no_sense_is_refused(name, values, message):
  with pytest.raises(ConfigError, match=message):
    classify(made(), name, values)


def test_one_class_is_refused_and_an_early_end_told(monkeypatch):
  codes = made()
  alone = codes._replace(train=Part(codes.train.codes, np.zeros(60, np.int32)))
  with pytest.raises(ConfigError, match="all 60 training examples are of one class"):
    classify(alone)
  monkeypatch.setattr("cnnlab.codes.classifiers.MOST_ITERATIONS", 1)
  assert not classify(codes, "linear", [100.0]).converged
