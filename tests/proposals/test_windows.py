"""A classifier of bright patches, slid over an image, finds them where they are, at two sizes."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from cnnlab.models import create_model, slide
from cnnlab.proposals.windows import detect_by_sliding


def bright_patches(side=8):
  """Class 1 where a window is bright, else 2, the background: exact in what it computes."""
  options = {"features": (1,), "padding": "valid", "downsample": "none", "head": "avgpool"}
  model = create_model("convnet", num_classes=3, kernel_size=1, hidden=(), **options)
  variables = model.init(jax.random.key(0), jnp.zeros((1, side, side, 1)), train=False)
  params = jax.tree.map(jnp.zeros_like, variables["params"])
  params["block1_conv1"]["kernel"] = jnp.ones((1, 1, 1, 1))
  params["head"]["kernel"] = jnp.array([[0.0, 40.0, 0.0]])
  params["head"]["bias"] = jnp.array([-9.0, -36.0, 0.0])
  return slide(model, (side, side, 1)), {"params": params}


def found_at(scales):
  """Returns the boxes that are found at these scales, the best first."""
  sliding, variables = bright_patches()
  image = np.zeros((40, 48, 1), np.float32)
  image[4:12, 6:14] = 1
  image[18:34, 26:42] = 1
  detect = jax.jit(partial(detect_by_sliding, sliding, scales=scales, overlap=0.1, most=20))
  boxes, scores, classes, mask = map(np.asarray, detect(variables, jnp.asarray(image), 2))
  assert (classes[mask] == 1).all()
  assert (scores[mask] >= 0.5).all()
  assert (np.diff(scores[mask]) <= 0).all()
  for top, left, bottom, right in boxes[mask].astype(int):
    assert image[top:bottom, left:right].mean() > 0.85
  return boxes[mask].tolist()


def test_bright_squares_are_found_at_the_scale_of_their_size():
  small, large = [4, 6, 12, 14], [18, 26, 34, 42]
  assert small in found_at((1.0, 0.1))  # at 0.1 the image is smaller than a window
  assert found_at((0.5,)) == [large]  # in pixels of the whole image


def test_nothing_is_found_in_the_dark():
  sliding, variables = bright_patches()
  detect = jax.jit(partial(detect_by_sliding, sliding))
  assert not detect(variables, jnp.zeros((16, 16, 1)), 2)[3].any()
