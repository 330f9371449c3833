"""Plain and residual policy networks of equal cost."""
