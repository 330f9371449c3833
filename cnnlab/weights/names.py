"""Rules that map a parameter of a family to its name in torchvision's state dict.

A rule takes the path of a module or bare parameter, such as ('stage1_block2', 'conv1'), and
returns torchvision's name for it; `source_of` adds the leaf. One rule covers all sizes of a family.
The rules are in `names_*.py`, their table is in `families.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from flax import linen as nn

from cnnlab.errors import ConfigError

ParameterPath = tuple[str, ...]
LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


class TensorSource(NamedTuple):
  """The tensor in torchvision's state dict that a parameter is converted from.

  Attributes:
    name: torchvision's name of the tensor. A rule returns the name of the module, to which
      '.weight' and the like are appended, or a name with '{leaf}' in their place.
    flattened: channels of the map that is flattened before this fully connected layer, as [C,H,W]
      by torchvision and as [H,W,C] here; 0 if none is flattened.
  """

  name: str
  flattened: int = 0


Rule = Callable[[ParameterPath], str | TensorSource | None]
NetRule = Callable[[Any, ParameterPath], str | TensorSource | None]


class Family(NamedTuple):
  """How the names of a family are translated.

  Attributes:
    rule: maps a path without collection and leaf to torchvision's module or tensor, or to None if
      there is none.
    net_rule: replaces `rule` if names depend on the net's options; its first argument is the net.
    models: shell pattern of the models that torchvision has.
    spare: prefixes of tensors that the model may lack, such as those of auxiliary heads.
    renamed: (pattern, replacement) for names that differ in older files.
  """

  rule: Rule | None = None
  spare: tuple[str, ...] = ()
  renamed: tuple[tuple[str, str], ...] = ()
  net_rule: NetRule | None = None
  models: str = "*"

  def of(self, net: nn.Module) -> Family:
    """Returns the family with the rule for this net."""
    return self if self.net_rule is None else self._replace(rule=partial(self.net_rule, net))


def source_of(family: Family, path: ParameterPath) -> TensorSource:
  """Returns the source of the parameter at a flat path such as ('params', 'conv1', 'kernel').

  Raises:
    ConfigError: torchvision's model of this family has no such parameter.
  """
  _, *module, leaf = path
  bare = leaf not in LEAVES
  assert family.rule is not None, "a family with a net_rule is bound to its net first"
  found = family.rule((*module, leaf) if bare else tuple(module))
  if found is None:
    raise ConfigError(
      f"torchvision's model has no tensor for the parameter {'/'.join(path)}; "
      "an option adds a layer that it does not have"
    )
  found = found if isinstance(found, TensorSource) else TensorSource(found)
  if bare:
    return found
  template = found.name if "{leaf}" in found.name else f"{found.name}.{{leaf}}"
  return found._replace(name=template.replace("{leaf}", LEAVES[leaf]))


def numbers(pattern: str, name: str) -> tuple[int, ...] | None:
  """Returns the numbers matched by the groups of `pattern`, or None without a full match."""
  found = re.fullmatch(pattern, name)
  return tuple(int(group) for group in found.groups()) if found else None
