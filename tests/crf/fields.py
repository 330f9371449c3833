"""Random fields on tiny images, by loops over pairs of pixels and by enumeration of all labelings."""

import itertools

import numpy as np


def positions(size):
  return np.stack(np.mgrid[: size[0], : size[1]], -1).reshape(-1, 2).astype(float)


def gaussian_pairs(image, position_width, color_width=None):
  """The kernel of all pairs [pixels, pixels], in float64, zero on the diagonal."""
  places = positions(image.shape[:2])
  colors = np.asarray(image, float).reshape(len(places), -1)
  pairs = np.zeros((len(places), len(places)))
  for i, j in itertools.permutations(range(len(places)), 2):
    distance = ((places[i] - places[j]) ** 2).sum() / position_width**2
    if color_width is not None:
      distance += ((colors[i] - colors[j]) ** 2).sum() / color_width**2
    pairs[i, j] = np.exp(-distance / 2)
  return pairs


def normalized_pairs(pairs):
  degrees = 1 + pairs.sum(1)
  return pairs / np.sqrt(np.outer(degrees, degrees))


def grid_pairs(image, neighbors, weight, contrast, color_width):
  places = positions(image.shape[:2])
  colors = np.asarray(image, float).reshape(len(places), -1)
  pairs = np.zeros((len(places), len(places)))
  for i, j in itertools.permutations(range(len(places)), 2):
    steps = np.abs(places[i] - places[j])
    if steps.max() == 1 and (neighbors == 8 or steps.sum() == 1):
      similar = np.exp(-((colors[i] - colors[j]) ** 2).sum() / (2 * color_width**2))
      pairs[i, j] = (weight + contrast * similar) / np.hypot(*steps)
  return pairs


def enumerate_labelings(scores, pairs, compatibility):
  """Returns all labelings [n, pixels], their log probabilities, and log Z."""
  flat = np.asarray(scores, float).reshape(-1, scores.shape[-1])
  pixels, classes = flat.shape
  labelings = np.array(list(itertools.product(range(classes), repeat=pixels)))
  energies = -flat[np.arange(pixels), labelings].sum(1)
  for i, j in itertools.combinations(range(pixels), 2):
    energies += pairs[i, j] * np.asarray(compatibility)[labelings[:, i], labelings[:, j]]
  log_z = np.logaddexp.reduce(-energies)
  return labelings, -energies - log_z, log_z


def loops(scores, pairs, compatibility, iterations, damping=0.0):
  """Mean field as the definition has it, in float64."""
  flat = np.asarray(scores, float).reshape(-1, scores.shape[-1])

  def normalize(x):
    return x - np.logaddexp.reduce(x, axis=1, keepdims=True)

  log_q = normalize(flat)
  for _ in range(iterations):
    q = np.exp(log_q)
    energy = np.zeros_like(q)
    for i in range(len(q)):
      for j in range(len(q)):
        if i != j:
          energy[i] += pairs[i, j] * np.asarray(compatibility, float) @ q[j]
    log_q = normalize(damping * log_q + (1 - damping) * (flat - energy))
  return log_q.reshape(scores.shape)
