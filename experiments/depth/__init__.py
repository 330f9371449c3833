"""Plain, residual and highway nets at two depths."""
