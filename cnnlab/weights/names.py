"""What a family's rule is: where a parameter of ours lies in torchvision's state dict.

A rule takes the path of a module or bare parameter, such as ('stage1_block2', 'conv1'), and
returns torchvision's name for it; `source_of` adds the leaf. Sizes of a family that were never tried
convert by the same rule. The rules are in `names_*.py`, the table of them in `families.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

from cnnlab.errors import ConfigError

Path = tuple[str, ...]
LEAVES = {
  "kernel": "weight",
  "scale": "weight",
  "bias": "bias",
  "mean": "running_mean",
  "var": "running_var",
}


class Source(NamedTuple):
  """Where a tensor comes from.

  Attributes:
    name: torchvision's name of the tensor. From a rule: of the module, to which '.weight' and the
      like are added, or with '{leaf}' where they belong.
    flattened: channels of the map [C,H,W] that torchvision flattens before this fully connected
      layer and we as [H,W,C]; 0 where none is flattened.
  """

  name: str
  flattened: int = 0


Rule = Callable[[Path], str | Source | None]
NetRule = Callable[[Any, Path], str | Source | None]


class Family(NamedTuple):
  """How a family's names translate.

  Attributes:
    rule: path without collection and leaf -> torchvision's module or tensor; None: it has none.
    net_rule: in place of `rule`, with the net as first argument, where names depend on its options.
    spare: beginnings of names that a file may hold and the model may lack, such as auxiliary heads.
    renamed: (pattern, replacement) for names that older files have in another form.
  """

  rule: Rule | None = None
  spare: tuple[str, ...] = ()
  renamed: tuple[tuple[str, str], ...] = ()
  net_rule: NetRule | None = None

  def of(self, net: Any) -> Family:
    """Returns the family with the rule for this net."""
    return self if self.net_rule is None else self._replace(rule=partial(self.net_rule, net))


def source_of(family: Family, path: Path) -> Source:
  """Returns where the tensor of a flat path such as ('params', 'conv1', 'kernel') comes from.

  Raises:
    ConfigError: torchvision's net of this family has no such parameter.
  """
  _, *module, leaf = path
  bare = leaf not in LEAVES
  assert family.rule is not None, "a family with a net_rule is bound to its net first"
  found = family.rule((*module, leaf) if bare else tuple(module))
  if found is None:
    raise ConfigError(
      f"torchvision's model has nothing for the parameter {'/'.join(path)}; "
      "an option changes the net into one that it does not have"
    )
  found = found if isinstance(found, Source) else Source(found)
  if bare:
    return found
  template = found.name if "{leaf}" in found.name else f"{found.name}.{{leaf}}"
  return found._replace(name=template.replace("{leaf}", LEAVES[leaf]))


def numbers(pattern: str, name: str) -> tuple[int, ...] | None:
  """Returns the numbers that the groups of `pattern` find in all of `name`; None if it differs."""
  found = re.fullmatch(pattern, name)
  return tuple(int(group) for group in found.groups()) if found else None
