"""Cardinality versus width and depth, arXiv:1611.05431."""
