"""Naive versus dimension-reducing inception modules, arXiv:1409.4842."""
