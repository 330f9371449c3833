"""Where a parameter of ours lies in torchvision's state dict: a rule for each family.

A rule takes the path of a module or bare parameter, such as ('stage1_block2', 'conv1'), and
returns torchvision's name for it. `source` adds the leaf: kernel and scale are `weight`, a moving
average is `running_*`. Sizes of a family that were never tried convert by the same rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from cnnlab.errors import ConfigError

Path = tuple[str, ...]
Rule = Callable[[Path], "str | Source | None"]
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
    name: torchvision's name, of a module in what a rule returns, of a tensor in what `source` does.
    flattened: channels of the map [C,H,W] that torchvision flattens before this fully connected
      layer and we as [H,W,C]; 0 where none is flattened.
    full: whether a rule's `name` is a tensor's already.
  """

  name: str
  flattened: int = 0
  full: bool = False


class Family(NamedTuple):
  """How a family's names translate.

  Attributes:
    rule: the path without collection and leaf -> name of torchvision's module; None if unknown.
    spare: beginnings of names that a file may hold and the model may lack, such as auxiliary heads.
    renamed: (pattern, replacement) for names that older files have in another form.
  """

  rule: Rule
  spare: tuple[str, ...] = ()
  renamed: tuple[tuple[str, str], ...] = ()


def source(family: Family, path: Path) -> Source:
  """Returns where the tensor of a flat path such as ('params', 'conv1', 'kernel') comes from.

  Raises:
    ConfigError: torchvision's net of this family has no such parameter.
  """
  _, *module, leaf = path
  bare = leaf not in LEAVES
  found = family.rule((*module, leaf) if bare else tuple(module))
  if found is None:
    raise ConfigError(
      f"torchvision's model has nothing for the parameter {'/'.join(path)}; "
      "an option changes the net into one that it does not have"
    )
  found = found if isinstance(found, Source) else Source(found)
  if bare or found.full:
    return found
  return found._replace(name=f"{found.name}.{LEAVES[leaf]}")


def _resnet(path: Path) -> str | None:
  stem = {"conv1": "conv1", "norm1": "bn1", "head": "fc"}
  if len(path) == 1:
    return stem.get(path[0])
  stage, block = _numbers(r"stage(\d+)_block(\d+)", path[0])
  layer = path[1].replace("norm", "bn")
  layer = {"shortcut_conv": "downsample.0", "shortcut_bn": "downsample.1"}.get(layer, layer)
  return f"layer{stage}.{block - 1}.{layer}"


def _numbers(pattern: str, name: str) -> tuple[int, ...]:
  found = re.fullmatch(pattern, name)
  if found is None:
    raise ConfigError(f"torchvision's model has no module like {name!r}")
  return tuple(int(group) for group in found.groups())


FAMILIES: dict[str, Family] = {
  "resnet": Family(_resnet),
}
