"""Running a function of arrays once, compiled with few optimisations: tests wait for the compiler."""

import jax

FEW = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def quickly(function, *arguments):
  """Returns function(*arguments), compiled as a whole and in haste."""
  return jax.jit(function).lower(*arguments).compile(compiler_options=FEW)(*arguments)
