"""Where a sweep runs: each launcher is a module with `run_sweep(specs, execute, ...)`."""
