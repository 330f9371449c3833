"""Timings: the training step, a suite of networks beside PyTorch's, and the input pipeline."""
