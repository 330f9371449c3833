"""Optimizers by name: settings, and the optax transformation that follows from them.

The learning rate is given to each update, so that schedules and plateau decay stay outside of the
optimizer's state.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import optax
from flax import traverse_util

from cnnlab.annotations import NonNegative, Positive, ProperFraction, Whole
from cnnlab.errors import ConfigError, shown, unknown
from cnnlab.settings import bind

ParameterPath = tuple[str, ...]
GROUP_KEYS = ("pattern", "rate", "weight_decay", "frozen")


@dataclasses.dataclass(frozen=True)
class Group:
  """Parameters that are trained in another way; see `optim.groups` in `cnnlab/defaults.py`.

  Attributes:
    pattern: shell patterns, separated by '|', of a parameter's path or of the module it is in:
      'stage1*', 'encoder', '*/bias'.
    rate: factor of the learning rate.
    weight_decay: replaces the optimizer's; None keeps it.
    frozen: no update at all; norms use and keep their moving averages.
  """

  pattern: str
  rate: NonNegative = 1.0
  weight_decay: NonNegative | None = None
  frozen: bool = False

  def matches(self, path: ParameterPath) -> bool:
    """Returns whether the pattern matches a parameter's path, or that of a module around it."""
    prefixes = ["/".join(path[:length]) for length in range(1, len(path) + 1)]
    return any(
      fnmatch.fnmatchcase(prefix, pattern)
      for pattern in self.pattern.split("|")
      for prefix in prefixes
    )


@dataclasses.dataclass(frozen=True)
class Optimizer:
  """Settings that all optimizers share; `cnnlab/defaults.py` explains the keys."""

  learning_rate: Positive = 0.1
  reference_batch: Whole = 0
  weight_decay: NonNegative = 0.0001
  decay_all: bool = True
  clip_norm: NonNegative = 0.0
  groups: tuple[dict, ...] = ()

  def __post_init__(self) -> None:
    """Raises ConfigError for groups that make no sense."""
    self.parameter_groups()

  def parameter_groups(self) -> tuple[Group, ...]:
    """Returns the groups, the first that matches a parameter wins."""
    return tuple(_group(fields) for fields in self.groups)

  def direction(self) -> optax.GradientTransformation:
    """Returns the transformation from gradients to directions of unit learning rate."""
    raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Sgd(Optimizer):
  """Stochastic gradient descent with momentum."""

  momentum: ProperFraction = 0.9
  nesterov: bool = False

  def direction(self) -> optax.GradientTransformation:
    """Returns the trace of the gradients."""
    if not self.momentum:
      return optax.identity()
    return optax.trace(decay=self.momentum, nesterov=self.nesterov)


@dataclasses.dataclass(frozen=True)
class Adam(Optimizer):
  """Adam (arXiv:1412.6980); weight decay is added to the gradient."""

  b1: ProperFraction = 0.9
  b2: ProperFraction = 0.999
  eps: Positive = 1e-8

  def direction(self) -> optax.GradientTransformation:
    """Returns Adam's scaling."""
    return optax.scale_by_adam(b1=self.b1, b2=self.b2, eps=self.eps)


@dataclasses.dataclass(frozen=True)
class AdamW(Adam):
  """Adam with decoupled weight decay (arXiv:1711.05101)."""


@dataclasses.dataclass(frozen=True)
class RmsProp(Optimizer):
  """RMSProp as PyTorch has it: eps outside the root, momentum after the scaling."""

  momentum: ProperFraction = 0.9
  eps: Positive = 1e-8
  decay: ProperFraction = 0.9

  def direction(self) -> optax.GradientTransformation:
    """Returns RMSProp's scaling, and the trace behind it."""
    scale = optax.scale_by_rms(decay=self.decay, eps=self.eps, eps_in_sqrt=False)
    return optax.chain(scale, optax.trace(self.momentum)) if self.momentum else scale


@dataclasses.dataclass(frozen=True)
class Adagrad(Optimizer):
  """Adagrad."""

  eps: Positive = 1e-8

  def direction(self) -> optax.GradientTransformation:
    """Returns Adagrad's scaling."""
    return optax.scale_by_rss(initial_accumulator_value=0.0, eps=self.eps)


OPTIMIZERS: dict[str, type[Optimizer]] = {
  "sgd": Sgd,
  "adam": Adam,
  "adamw": AdamW,
  "rmsprop": RmsProp,
  "adagrad": Adagrad,
}


def create_optimizer(settings: Optimizer) -> optax.GradientTransformationExtraArgs:
  """Returns the transformation from gradients and `learning_rate` to updates.

  Weight decay is added to the gradient (L2 regularization, as in PyTorch's SGD), except for AdamW,
  where it is decoupled. Groups change rate and decay by path; what is frozen gets no update.

  Raises:
    ConfigError: at `init`, a group that matches no parameter; the nearest modules are named.
  """
  groups = settings.parameter_groups()
  clip = [optax.clip_by_global_norm(settings.clip_norm)] if settings.clip_norm else []
  decay = _decay(settings, groups)
  direction = [settings.direction()]
  order = direction + decay if isinstance(settings, AdamW) else decay + direction
  chain = optax.chain(*clip, *order)

  def init(params: Any) -> Any:
    _refuse_unmatched(groups, params)
    return chain.init(params)

  def update(updates: Any, state: Any, params: Any = None, *, learning_rate: Any) -> Any:
    updates, state = chain.update(updates, state, params)
    if not groups:
      return jax.tree.map(lambda d: -(learning_rate * d), updates), state
    rates = by_path(lambda path: _rate(groups, path), params)
    return jax.tree.map(
      lambda d, rate: -(learning_rate * rate * d) if rate else d * 0, updates, rates
    ), state

  return optax.GradientTransformationExtraArgs(init, update)


def freeze_filter(settings: Optimizer) -> Callable[[ParameterPath], bool] | None:
  """Returns whether the parameter at a path is frozen, as a function; None if no group freezes."""
  groups = settings.parameter_groups()
  if not any(group.frozen for group in groups):
    return None
  return lambda path: (found := _first(groups, path)) is not None and found.frozen


def by_path(value: Callable[[ParameterPath], Any], params: Any) -> Any:
  """Returns a tree of the parameters' structure with a value that follows from each path."""
  return traverse_util.path_aware_map(lambda path, _: value(tuple(map(str, path))), params)


def decays(path: ParameterPath) -> bool:
  """Returns whether weight decay acts on a parameter with `decay_all=False`: kernels alone.

  Biases, scales, class tokens, position embeddings and the like stay as they are.
  """
  return path[-1] == "kernel"


def _decay(settings: Optimizer, groups: tuple[Group, ...]) -> list[optax.GradientTransformation]:
  """Returns a transformation for each amount of weight decay."""

  def amount(path: ParameterPath) -> float:
    group = _first(groups, path)
    if group is not None and group.frozen:
      return 0.0
    if group is not None and group.weight_decay is not None:
      return group.weight_decay
    return settings.weight_decay if settings.decay_all or decays(path) else 0.0

  amounts = {settings.weight_decay, *(g.weight_decay or 0.0 for g in groups)} - {0.0}
  if len(amounts) == 1 and settings.decay_all and not groups:
    return [optax.add_decayed_weights(settings.weight_decay)]

  def only(wanted: float) -> Callable[[Any], Any]:
    return lambda params: by_path(lambda path: amount(path) == wanted, params)

  return [optax.add_decayed_weights(wanted, mask=only(wanted)) for wanted in sorted(amounts)]


def _first(groups: Iterable[Group], path: ParameterPath) -> Group | None:
  return next((group for group in groups if group.matches(path)), None)


def _rate(groups: tuple[Group, ...], path: ParameterPath) -> float:
  group = _first(groups, path)
  return 1.0 if group is None else 0.0 if group.frozen else group.rate


def _group(fields: Mapping[str, Any]) -> Group:
  for key in fields:
    if key not in GROUP_KEYS:
      raise ConfigError(unknown("key of a group in 'optim.groups'", key, GROUP_KEYS))
  if "pattern" not in fields:
    raise ConfigError(
      f"config key 'optim.groups': {shown(dict(fields))} needs a 'pattern' such as 'stem*'"
    )
  return bind(Group, fields, "optim.groups")


def _refuse_unmatched(groups: tuple[Group, ...], params: Any) -> None:
  paths = list(traverse_util.flatten_dict(dict(params)))
  for group in groups:
    if not any(group.matches(path) for path in paths):
      modules = dict.fromkeys("/".join(path[:1]) for path in paths)
      raise ConfigError(unknown("pattern in 'optim.groups'", group.pattern, modules))
