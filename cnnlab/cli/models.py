"""List the models whose names match a pattern, and their options.

cnnlab models 'resnet*'
cnnlab models resnet20 --options
cnnlab models --table > docs/models.md
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "pattern", nargs="?", default="*", help="a name, or a pattern such as 'resnet*'"
  )
  parser.add_argument("--options", action="store_true", help="show the options with their defaults")
  parser.add_argument(
    "--table",
    action="store_true",
    help="print the content of docs/models.md: counts, costs, sources, and what is verified",
  )


def run(arguments: argparse.Namespace) -> int:
  """Prints the names; returns the exit code."""
  from cnnlab.errors import ConfigError, unknown
  from cnnlab.models import describe_type, list_models, model_options

  names = list_models(arguments.pattern)
  if not names:
    raise ConfigError(unknown("model", arguments.pattern, list_models()))
  if arguments.table:
    from cnnlab.inspect.catalogue import markdown

    print(markdown(arguments.pattern), end="")
    return 0
  for name in names:
    print(name)
    if arguments.options:
      for option, (kind, default) in model_options(name).items():
        print(f"  {option} = {default!r}  ({describe_type(kind)})")
  return 0
