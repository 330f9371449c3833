"""Synthetic test results of two variants: seeds, images of unequal difficulty, and chance."""

import numpy as np
import pandas as pd
from scipy import stats


def draw(generator, seeds=5, images=2000, errors=(0.1, 0.1), spread=0.004):
  """Returns a table [seeds x images] of 0 and 1 for each error rate, the images in common.

  A probit model: 70 % of the variance belongs to the images, 10 % to the images in one variant, and
  20 % is chance; `spread` is the standard deviation over seeds beside the chance of the images.
  """
  difficulty = np.sqrt(0.7) * generator.standard_normal(images)
  tables = []
  for error in errors:
    threshold = stats.norm.ppf(error)
    shift = spread / stats.norm.pdf(threshold)
    own = difficulty + np.sqrt(0.1) * generator.standard_normal(images)
    of_seeds = shift * generator.standard_normal((seeds, 1))
    chance = np.sqrt(0.2) * generator.standard_normal((seeds, images), dtype=np.float32)
    latent = threshold * np.sqrt(1 + shift**2) + own + of_seeds + chance
    tables.append(pd.DataFrame((latent > 0).astype(np.uint8)))
  return tables
