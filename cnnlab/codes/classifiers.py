"""Classifiers of scikit-learn on CNN codes, their strength chosen by cross-validation."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cnnlab.codes.extraction import Codes, Part
from cnnlab.errors import ConfigError, unknown

if TYPE_CHECKING:
  from sklearn.base import BaseEstimator

MOST_ITERATIONS = 1000
FOLDS = 5  # of the cross-validation; fewer where no class has as many examples


class Kind(NamedTuple):
  """A kind of classifier.

  Attributes:
    make: a classifier of a strength.
    values: strengths to choose from, the simplest classifier first.
    strength: what they are.
  """

  make: Callable[[float], BaseEstimator]
  values: tuple[float, ...]
  strength: str


class Score(NamedTuple):
  """A classifier on codes.

  Attributes:
    classifier: its kind.
    strength: what `value` is: 'C' or 'k'.
    value: the strength that was chosen.
    validation_errors: {value: cross-validated error}; empty where only one was tried.
    train_error, eval_error: of the classifier that is trained on all training examples.
    train_examples, eval_examples: their numbers.
    converged: whether the optimization ended by itself.
    model: the fitted pipeline of scikit-learn, which takes codes [examples, size].
    predictions: label of each evaluated example.
  """

  classifier: str
  strength: str
  value: float
  validation_errors: Mapping[float, float]
  train_error: float
  eval_error: float
  train_examples: int
  eval_examples: int
  converged: bool
  model: BaseEstimator
  predictions: np.ndarray


def _logistic_regression(strength: float) -> BaseEstimator:
  from sklearn.linear_model import LogisticRegression

  return LogisticRegression(C=strength, max_iter=MOST_ITERATIONS)


def _svm(strength: float) -> BaseEstimator:
  from sklearn.svm import LinearSVC

  return LinearSVC(C=strength, dual="auto", max_iter=MOST_ITERATIONS, random_state=0)


def _neighbors(strength: float) -> BaseEstimator:
  from sklearn.neighbors import KNeighborsClassifier

  return KNeighborsClassifier(n_neighbors=int(strength))


_C = tuple(10.0**power for power in range(-4, 2))
CLASSIFIERS: dict[str, Kind] = {
  "linear": Kind(_logistic_regression, _C, "C"),
  "svm": Kind(_svm, _C, "C"),
  "knn": Kind(_neighbors, (50, 20, 10, 5, 3, 1), "k"),
}


def classify(
  codes: Codes, classifier: str = "linear", values: Sequence[float] | None = None
) -> Score:
  """Trains a classifier on the codes of the training split, and evaluates it on the other.

  Codes are standardized by the training examples. Of several strengths the one with the smallest
  error in a stratified cross-validation of the training examples is chosen, the simplest of equally
  good ones, and the classifier is trained with it on all of them. The evaluation split is used once.

  Args:
    codes: see `cnnlab.codes.extract`.
    classifier: 'linear' (multinomial logistic regression), 'svm' (linear, one against the rest,
      squared hinge loss) or 'knn' (k nearest neighbors).
    values: inverse regularization strengths C, or numbers of neighbors; those of `CLASSIFIERS` by
      default. One alone is taken as it is.

  Raises:
    ConfigError: an unknown classifier, a value out of range, or too few examples to choose.
  """
  if classifier not in CLASSIFIERS:
    raise ConfigError(unknown("classifier", classifier, CLASSIFIERS))
  kind = CLASSIFIERS[classifier]
  tried = _values(kind, classifier, values, codes.train)
  errors: dict[float, float] = {}
  if len(tried) > 1:
    with warnings.catch_warnings():  # small classes, and values that are not chosen
      warnings.simplefilter("ignore")
      errors = _validation_errors(kind, tried, codes.train)
  value = min(errors, key=lambda one: errors[one]) if errors else tried[0]
  model, converged = _fit(kind, value, codes.train)
  predictions = model.predict(codes.eval.codes)
  return Score(
    classifier,
    kind.strength,
    value,
    errors,
    _error(model.predict(codes.train.codes), codes.train.labels),
    _error(predictions, codes.eval.labels),
    len(codes.train.labels),
    len(codes.eval.labels),
    converged,
    model,
    predictions,
  )


def _values(
  kind: Kind, name: str, values: Sequence[float] | None, train: Part
) -> tuple[float, ...]:
  """Returns the strengths to try, the simplest classifier first."""
  neighbors, examples = kind.strength == "k", len(train.labels)
  most = examples if values is not None and len(values) == 1 else examples // 2  # of two folds
  if values is None:
    values = [one for one in kind.values if not neighbors or one <= most] or [1]
  allowed = f"whole numbers from 1 to {most}" if neighbors else "numbers over 0"
  good = [1 <= v <= most and v == int(v) if neighbors else 0 < v < np.inf for v in values]
  if not good or not all(good):
    raise ConfigError(
      f"values of {kind.strength} for {name} are {list(values)}; allowed: {allowed}"
    )
  if len(np.unique(train.labels)) < 2:
    raise ConfigError(f"{name}: all {examples} training examples are of one class; it needs two")
  if len(values) > 1 and _most_of_a_class(train) < 2:
    raise ConfigError(
      f"{examples} training examples, one of a class, are too few to choose {kind.strength} by "
      "cross-validation; allowed: two or more of a class, or one value alone"
    )
  return tuple(sorted({*values}, reverse=neighbors))


def _validation_errors(kind: Kind, values: Sequence[float], train: Part) -> dict[float, float]:
  from sklearn.model_selection import StratifiedKFold, cross_val_score

  folds = StratifiedKFold(min(FOLDS, _most_of_a_class(train)), shuffle=True, random_state=0)
  return {
    value: 1 - float(np.mean(cross_val_score(_model(kind, value), *train, cv=folds)))
    for value in values
  }


def _most_of_a_class(train: Part) -> int:
  return int(np.bincount(train.labels).max())


def _model(kind: Kind, value: float) -> BaseEstimator:
  from sklearn.pipeline import make_pipeline
  from sklearn.preprocessing import StandardScaler

  return make_pipeline(StandardScaler(), kind.make(value))


def _fit(kind: Kind, value: float, part: Part) -> tuple[BaseEstimator, bool]:
  """Returns a classifier on standardized codes, and whether its optimization has converged."""
  from sklearn.exceptions import ConvergenceWarning

  model = _model(kind, value)
  with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always", ConvergenceWarning)
    model.fit(*part)
  return model, not any(issubclass(one.category, ConvergenceWarning) for one in caught)


def _error(predicted: np.ndarray, labels: np.ndarray) -> float:
  return float(np.mean(predicted != labels))
