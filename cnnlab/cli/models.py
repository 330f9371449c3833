"""List the models whose names match a pattern, and their options.

cnnlab models 'resnet*'
cnnlab models resnet20 --options
cnnlab models --output segmentation
cnnlab models --table > docs/models.md
"""

from __future__ import annotations

import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the arguments of the verb."""
  parser.add_argument(
    "pattern", nargs="?", default="*", help="a name, or a pattern such as 'resnet*'"
  )
  parser.add_argument("--output", metavar="KIND", help="only models for this, such as segmentation")
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
  from cnnlab.models.registry import OUTPUTS

  if arguments.output not in (None, *OUTPUTS):
    raise ConfigError(unknown("value of --output", arguments.output, OUTPUTS))
  names = list_models(arguments.pattern, arguments.output)
  if not names:
    raise ConfigError(unknown("model", arguments.pattern, list_models(output=arguments.output)))
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
