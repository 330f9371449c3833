"""Pooling versus strided convolution on handwritten digits: the quickstart."""
