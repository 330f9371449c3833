"""Texts that read like calls, such as "scale(low=0.8, high=1.2)": a name and its settings."""

from __future__ import annotations

import ast
from typing import Any


def read_call(text: str) -> tuple[str, dict[str, Any]]:
  """Returns the name and the keyword arguments, literals all, of "name" or "name(key=value, ...)".

  Raises:
    ValueError: the text has another form.
  """
  try:
    node = ast.parse(text, mode="eval").body
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if not isinstance(call.func, ast.Name) or call.args:
      raise ValueError
    return call.func.id, {str(one.arg): _value(one.value) for one in call.keywords}
  except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
    raise ValueError("write a name, or name(key=value, ...)") from error


def _value(node: ast.expr) -> Any:
  """Returns a literal; `true` and `false` may be written as in JSON and YAML."""
  if isinstance(node, ast.Name) and node.id in ("true", "false"):
    return node.id == "true"
  return ast.literal_eval(node)
