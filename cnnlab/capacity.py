"""The memory of the machine and its accelerators, held against what a config asks for.

What is asked for is estimated from below, so that nothing which could run is refused. It is
compared with all memory, not with what is free just now: whether a config makes sense does not
depend on what else runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from cnnlab.errors import ConfigError

# Limits of the container or batch job that the process is in, versions 2 and 1 of Linux's cgroups.
_CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB", "EB")


def machine_memory() -> int | None:
  """Returns the bytes of memory that this process may use at most; None where nobody tells."""
  found = []
  if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
    found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
  for path in _CGROUP_LIMITS:
    try:
      text = Path(path).read_text().strip()
    except OSError:
      continue
    if text.isdecimal():
      found.append(int(text))
  return min(found, default=None)


def device_memory() -> int | None:
  """Returns the bytes of memory of the smallest device that JAX computes on."""
  import jax

  limits = [(device.memory_stats() or {}).get("bytes_limit") for device in jax.local_devices()]
  known = [limit for limit in limits if limit]
  return min(known) if known else machine_memory()


def require(needs: Mapping[str, int], keys: Iterable[str], memory: int | None) -> None:
  """Raises ConfigError where more memory is needed than there is.

  Args:
    needs: bytes by what takes them.
    keys: the config keys that decide on them.
    memory: in bytes; None is not held against anything.
  """
  total = sum(needs.values())
  if memory is None or total <= memory:
    return
  parts = ", ".join(f"{what} {in_words(size)}" for what, size in needs.items() if size)
  names = [f"'{key}'" for key in keys]
  listed = " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))
  raise ConfigError(
    f"config key{'s' * (len(names) > 1)} {listed}: this takes at least {in_words(total)} of memory "
    f"({parts}); allowed: what fits into {in_words(memory)}"
  )


def in_words(size: int) -> str:
  """Returns a number of bytes with its unit, such as '1.5 GB'."""
  value, unit = float(size), 0
  while value >= 1000 and unit < len(_UNITS) - 1:
    value, unit = value / 1000, unit + 1
  return f"{value:.3g} {_UNITS[unit]}"
