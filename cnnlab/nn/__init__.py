"""Layers and their arithmetic, usable on their own: convolution, pooling, norms, geometry, cost.

Arrays are [batch, height, width, channels].
"""

from cnnlab.nn.conv import Conv
from cnnlab.nn.convolutional import conv_as_dense, dense_as_conv
from cnnlab.nn.cost import count_parameters, multiply_adds
from cnnlab.nn.geometry import check_image, conv_parameters, output_size
from cnnlab.nn.kernels import KERNELS, filter_images, fixed, gaussian, separable_terms, separate
from cnnlab.nn.layers import (
  ACTIVATIONS,
  NORMS,
  Layers,
  activation,
  make_layers,
  register_activation,
  register_norm,
)
from cnnlab.nn.local import LocallyConnected
from cnnlab.nn.matrix import conv_matrix, im2col
from cnnlab.nn.norm import (
  FrozenBatchNorm,
  GroupNorm,
  LayerNorm,
  LocalResponseNorm,
  MeanOnlyBatchNorm,
  freeze_batch_norm,
  local_response_norm,
)
from cnnlab.nn.pool import (
  adaptive_avg_pool,
  adaptive_max_pool,
  avg_pool,
  global_avg_pool,
  global_max_pool,
  max_pool,
  max_pool_with_switches,
  max_unpool,
)
from cnnlab.nn.resize import resize
from cnnlab.nn.separable import DepthwiseSeparableConv, SpatiallySeparableConv
from cnnlab.nn.stack import Row, Window, nearest_sizes, stack
from cnnlab.nn.stochastic_depth import StochasticDepth, survival_probabilities
from cnnlab.nn.switchable import SwitchableNorm, importance_weights
from cnnlab.nn.transposed import ConvTranspose
from cnnlab.nn.weight_norm import WeightNormConv, WeightNormDense

__all__ = [
  "ACTIVATIONS",
  "KERNELS",
  "NORMS",
  "Conv",
  "ConvTranspose",
  "DepthwiseSeparableConv",
  "FrozenBatchNorm",
  "GroupNorm",
  "LayerNorm",
  "Layers",
  "LocalResponseNorm",
  "LocallyConnected",
  "MeanOnlyBatchNorm",
  "Row",
  "SpatiallySeparableConv",
  "StochasticDepth",
  "SwitchableNorm",
  "WeightNormConv",
  "WeightNormDense",
  "Window",
  "activation",
  "adaptive_avg_pool",
  "adaptive_max_pool",
  "avg_pool",
  "check_image",
  "conv_as_dense",
  "conv_matrix",
  "conv_parameters",
  "count_parameters",
  "dense_as_conv",
  "filter_images",
  "fixed",
  "freeze_batch_norm",
  "gaussian",
  "global_avg_pool",
  "global_max_pool",
  "im2col",
  "importance_weights",
  "local_response_norm",
  "make_layers",
  "max_pool",
  "max_pool_with_switches",
  "max_unpool",
  "multiply_adds",
  "nearest_sizes",
  "output_size",
  "register_activation",
  "register_norm",
  "resize",
  "separable_terms",
  "separate",
  "stack",
  "survival_probabilities",
]
