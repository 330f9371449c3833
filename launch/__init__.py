"""Where a sweep runs: each launcher has the functions of `cnnlab.launch.sweep.Executor`."""
