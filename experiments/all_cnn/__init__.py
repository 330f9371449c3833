"""Pooling versus strided convolution, arXiv:1412.6806."""
