"""Dropping residual blocks at random, arXiv:1603.09382."""
