"""Layers and their arithmetic, usable on their own: convolution, pooling, norms, geometry, cost.

Arrays are [batch, height, width, channels].
"""

from cnnlab.nn.conv import Conv
from cnnlab.nn.cost import count_parameters, multiply_adds
from cnnlab.nn.geometry import check_image, output_size
from cnnlab.nn.layers import ACTIVATIONS, NORMS, Layers, activation, make_layers
from cnnlab.nn.pool import avg_pool, global_avg_pool, global_max_pool, max_pool
from cnnlab.nn.stochastic_depth import StochasticDepth, survival_probabilities

__all__ = [
  "ACTIVATIONS",
  "NORMS",
  "Conv",
  "Layers",
  "StochasticDepth",
  "activation",
  "avg_pool",
  "check_image",
  "count_parameters",
  "global_avg_pool",
  "global_max_pool",
  "make_layers",
  "max_pool",
  "multiply_adds",
  "output_size",
  "survival_probabilities",
]
