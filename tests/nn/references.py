"""Slow, independent references in NumPy float64 and SciPy, from the definitions."""

import numpy as np
from scipy import signal


def randoms(*shape, seed=0):
  return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def correlate(x, kernel, stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), groups=1):
  """Convolution by SciPy, a channel pair at a time; dilation by zeros in the kernel, then stride."""
  x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
  x = np.pad(x, ((0, 0), *pads, (0, 0)))
  height, width, inputs, outputs = kernel.shape
  wide = np.zeros((dilation[0] * (height - 1) + 1, dilation[1] * (width - 1) + 1, inputs, outputs))
  wide[:: dilation[0], :: dilation[1]] = kernel
  rows, columns = x.shape[1] - wide.shape[0] + 1, x.shape[2] - wide.shape[1] + 1
  y = np.zeros((x.shape[0], rows, columns, outputs))
  per_group = outputs // groups
  for n in range(x.shape[0]):
    for o in range(outputs):
      for i in range(inputs):
        channel = o // per_group * inputs + i
        y[n, :, :, o] += signal.correlate2d(x[n, :, :, channel], wide[:, :, i, o], mode="valid")
  return y[:, :: stride[0], :: stride[1]]


def windows(x, window, stride):
  """Yields (row, column, pixels [batch, F*F, channels]) of an image that is padded already."""
  rows = (x.shape[1] - window[0]) // stride[0] + 1
  columns = (x.shape[2] - window[1]) // stride[1] + 1
  for i in range(rows):
    for j in range(columns):
      top, left = i * stride[0], j * stride[1]
      block = x[:, top : top + window[0], left : left + window[1]]
      yield i, j, block.reshape(x.shape[0], -1, x.shape[3])
