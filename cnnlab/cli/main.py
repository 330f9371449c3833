"""The command `cnnlab VERB`: runs a verb; reports errors as a one-line message and exit code."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from collections.abc import Sequence

from cnnlab.errors import CnnlabError, unknown
from cnnlab.memory import keep_freed_memory

# A verb is a module of this package with `add_arguments(parser)` and `run(arguments) -> exit code`.
# The help texts are kept here so that `--help` does not import the verbs.
VERBS = {
  "train": "train a network from a config file; the same command resumes it",
  "eval": "evaluate a run's newest checkpoint on every example of a split",
  "predict": "predict images with a run or checkpoint",
  "models": "list the models, or the options of one model",
  "describe": "show output, cost, receptive field and memory of each layer of a model",
  "convert": "make a run directory from torchvision's weights",
  "bench": "time the training step, seven networks beside PyTorch, or the input pipeline",
  "sweep": "train all variants and seeds of an experiment, then report",
  "report": "rebuild an experiment's tables and plots from its run directories",
  "runs": "show a table of all runs in a directory tree",
}


def build_parser() -> argparse.ArgumentParser:
  """Returns the parser of `cnnlab --help`."""
  width = max(map(len, VERBS))
  verbs = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
  parser = argparse.ArgumentParser(
    prog="cnnlab",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="Controlled experiments with convolutional networks.",
    epilog=f"verbs:\n{verbs}\n\n`cnnlab VERB --help` describes a verb.",
  )
  parser.add_argument("verb", metavar="VERB", help="what to do; see below")
  parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
  return parser


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a verb; returns the exit code: 0 success, 2 user error, 3 diverged, 128 + n signal n."""
  top = build_parser().parse_args(argv)
  keep_freed_memory()
  logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING)
  logging.getLogger("cnnlab").setLevel(logging.INFO)
  logging.getLogger("absl").setLevel(logging.CRITICAL)  # Orbax logs every file
  try:
    if top.verb not in VERBS:
      raise CnnlabError(unknown("verb", top.verb, VERBS))
    verb = importlib.import_module(f"cnnlab.cli.{top.verb}")
    parser = argparse.ArgumentParser(
      prog=f"cnnlab {top.verb}",
      description=verb.__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter,
      allow_abbrev=False,
    )
    verb.add_arguments(parser)
    return _run(verb, parser, top.arguments)
  except CnnlabError as error:
    print(f"error: {error}", file=sys.stderr)
    return error.exit_code
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130
  except BrokenPipeError:
    return 141  # the reader of the output closed the pipe, as in `cnnlab runs DIR | head`


def _run(verb: object, parser: argparse.ArgumentParser, arguments: list[str]) -> int:
  """Parses the arguments of a verb and runs it; collects overrides for verbs that take them."""
  if not getattr(verb, "TAKES_OVERRIDES", False):
    return verb.run(parser.parse_args(arguments))  # type: ignore[attr-defined]
  overrides, rest = [], []
  pending = list(arguments)
  while pending:
    argument = pending.pop(0)
    if argument.startswith("--config."):
      if "=" not in argument and pending and not pending[0].startswith("--"):
        argument += "=" + pending.pop(0)
      overrides.append(argument)
    else:
      rest.append(argument)
  parsed = parser.parse_args(rest)
  parsed.overrides = overrides
  return verb.run(parsed)  # type: ignore[attr-defined]


def entry_point() -> None:
  """Runs the `cnnlab` command."""
  sys.exit(main())
