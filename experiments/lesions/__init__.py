"""Blocks removed from trained nets, arXiv:1605.06431."""
