"""XLA's persistent compilation cache, on by default, so that a program is compiled once."""

from __future__ import annotations

import jax

from cnnlab.cache_root import cache_root, processor


def enable_compile_cache() -> None:
  """Turns the cache on, unless it is off or the user has set JAX's own option for it.

  `CNNLAB_CACHE=off` turns it off; so does a folder that cannot be written.
  """
  if not jax.config.values["jax_compilation_cache_dir"]:
    root = cache_root()
    if root is None:
      return
    # A home folder may be shared by machines; code compiled for one processor can crash another.
    directory = root / "xla" / processor()
    try:
      directory.mkdir(parents=True, exist_ok=True)
    except OSError:
      return  # a read-only home folder costs time, not the run
    jax.config.update("jax_compilation_cache_dir", str(directory))
  # Some fifty small programs are compiled at start-up; all are worth keeping.
  jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
  jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
