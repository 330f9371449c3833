"""Pooling against strided convolution, arXiv:1412.6806."""
