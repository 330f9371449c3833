"""The command `cnnlab VERB`: runs a verb; reports errors as a one-line message and exit code."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import NoReturn

from cnnlab.errors import CnnlabError, printable, unknown
from cnnlab.memory import keep_freed_memory
from cnnlab.signals import SIGNALS, Terminated, raise_interrupt

_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)

# A verb is a module of this package with `add_arguments(parser)` and `run(arguments) -> exit code`.
# The help texts are kept here so that `--help` does not import the verbs.
VERBS = {
  "train": "train a network from a config file; the same command resumes it",
  "eval": "evaluate a run's newest checkpoint on every example of a split",
  "predict": "predict images with a run or checkpoint",
  "codes": "classify a data set by a layer of a trained network and scikit-learn's classifiers",
  "look": "draw what a network computes and responds to, and what its decisions rest on",
  "models": "list the models, or the options of one model",
  "describe": "show output, cost, receptive field and memory of each layer of a model",
  "export": "write a trained network to a file that is used without cnnlab",
  "convert": "make a run directory from published or other weights",
  "bench": "time the training step, seven networks beside PyTorch, or the input pipeline",
  "sweep": "train all variants and seeds of an experiment, then report",
  "report": "write the report of a run, or of an experiment from its run directories",
  "runs": "show a table of all runs in a directory tree",
}


def build_parser() -> argparse.ArgumentParser:
  """Returns the parser of `cnnlab --help`."""
  width = max(map(len, VERBS))
  verbs = "\n".join(f"  {name:<{width}}  {text}" for name, text in VERBS.items())
  parser = _Parser(
    prog="cnnlab",
    formatter_class=argparse.RawDescriptionHelpFormatter,
    description="Controlled experiments with convolutional networks.",
    epilog=f"verbs:\n{verbs}\n\n`cnnlab VERB --help` describes a verb.",
  )
  parser.add_argument("verb", metavar="VERB", help="what to do; see below")
  parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
  return parser


def main(argv: Sequence[str] | None = None) -> int:
  """Runs a verb; returns the exit code: 0 success, 2 user error, 3 diverged, 128 + n signal n.

  Errors of the system, such as a folder that cannot be written or memory that is not there, are
  user errors, too. Any other exception is a bug, and keeps its traceback.
  """
  try:
    with _interruptible():
      top = build_parser().parse_args(argv)
      from cnnlab.terminal import log_to_stderr  # Rich, which `--help` does without

      keep_freed_memory()
      log_to_stderr()
      if top.verb not in VERBS:
        raise CnnlabError(unknown("verb", top.verb, VERBS))
      verb = importlib.import_module(f"cnnlab.cli.{top.verb}")
      parser = _Parser(
        prog=f"cnnlab {top.verb}",
        description=verb.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
      )
      verb.add_arguments(parser)
      return _run(verb, parser, top.arguments)
  except CnnlabError as error:
    # An interruption is what was asked for.
    prefix = "" if error.exit_code > 128 else "error: "
    print(f"{prefix}{printable(str(error))}", file=sys.stderr)
    return error.exit_code
  except Terminated:
    print("terminated", file=sys.stderr)
    return 143
  except KeyboardInterrupt:
    print("interrupted", file=sys.stderr)
    return 130
  except BrokenPipeError:
    return 141  # the reader of the output closed the pipe, as in `cnnlab runs DIR | head`
  except (OSError, UnicodeError, MemoryError, ValueError) as error:
    message = _of_the_system(error)
    if message is None:
      raise
    print(f"error: {printable(message)}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
  """A parser whose messages, which repeat arguments, cannot act on the terminal."""

  def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
    super().exit(status, printable(message) if message else None)


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
  """Inside, Ctrl-C and SIGTERM unwind the stack at any moment, so that what is open is closed."""
  if threading.current_thread() is not threading.main_thread():
    yield
    return
  before = {signum: signal.signal(signum, raise_interrupt) for signum in SIGNALS}
  try:
    yield
  finally:
    for signum, handler in before.items():
      signal.signal(signum, handler)


def _of_the_system(error: Exception) -> str | None:
  """Returns the message for an error that the system or odd text causes; None for a bug."""
  if isinstance(error, MemoryError):
    return f"not enough memory{f': {error}' if str(error) else ''}"
  if isinstance(error, UnicodeEncodeError):
    return f"{error.object!r:.200} cannot be written as {error.encoding}: {error.reason}"
  if isinstance(error, OSError) and error.strerror:
    if error.filename is not None:
      return f"{error.filename!s:.200}: {error.strerror}"
    return error.strerror if error.errno in _DISK else None
  if isinstance(error, ValueError) and "null byte" in str(error):
    return "a path contains the character NUL, which no path may"
  return None


def _run(verb: object, parser: argparse.ArgumentParser, arguments: list[str]) -> int:
  """Parses the arguments of a verb and runs it, after the modules that `--import` names are imported.

  Verbs that take overrides get these as `overrides`, and `--import=NAME` among them.
  """
  from cnnlab.imports import import_modules

  parser.add_argument(
    "--import",
    dest="imports",
    action="append",
    default=[],
    metavar="MODULE",
    help="import a module that registers models, norms, tasks, data sets, ...: its name, or a .py file; "
    "repeatable",
  )
  if not getattr(verb, "TAKES_OVERRIDES", False):
    parsed = parser.parse_args(arguments)
    import_modules(parsed.imports, "--import")
    return verb.run(parsed)  # type: ignore[attr-defined]
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
  import_modules(parsed.imports, "--import")
  parsed.overrides = [*overrides, *(f"--import={name}" for name in parsed.imports)]
  return verb.run(parsed)  # type: ignore[attr-defined]


def entry_point() -> None:
  """Runs the `cnnlab` command."""
  for stream in (sys.stdout, sys.stderr):  # names may hold what the terminal's encoding lacks
    if isinstance(stream, io.TextIOWrapper):
      stream.reconfigure(errors="backslashreplace")
  code = main()
  try:
    sys.stdout.flush()
  except OSError as error:  # Python would flush again at exit, and print a traceback
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
      print(f"error: the output cannot be written: {error.strerror}", file=sys.stderr)
      code = 2
  if code > 128:  # a compilation may go on in a thread: it would hold up the end, and crash it
    os._exit(code)
  sys.exit(code)
