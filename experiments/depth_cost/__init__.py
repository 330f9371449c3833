"""Cost of depth."""
