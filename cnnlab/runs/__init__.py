"""Run directories: written while training, read back by anyone, with neither JAX nor model code."""

from cnnlab.runs.loading import Run, find_runs, load
from cnnlab.runs.status import effective_status
from cnnlab.runs.table import compare

__all__ = ["Run", "compare", "effective_status", "find_runs", "load"]
