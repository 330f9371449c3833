"""Position embeddings are resized as Pillow resizes images, whose bicubic filter timm's resizing has."""

import jax
import numpy as np
import pytest
from PIL import Image

from cnnlab.models import create_model
from cnnlab.weights import from_tensors
from cnnlab.weights.positions import resizable, resized
from cnnlab.weights.to_torchvision import to_torchvision


@pytest.mark.parametrize("token", [0, 1])
@pytest.mark.parametrize(("old", "new"), [(4, 7), (7, 4), (14, 24)])
def test_each_feature_is_an_image_and_the_class_token_is_kept(old, new, token):
  rng = np.random.default_rng(old)
  embedding = rng.normal(size=(1, token + old**2, 3)).astype(np.float32)
  wanted = (1, token + new**2, 3)
  assert resizable(embedding.shape, wanted)
  found = resized(embedding, wanted)
  assert found.shape == wanted
  np.testing.assert_array_equal(found[:, :token], embedding[:, :token])
  for feature in range(3):
    image = Image.fromarray(embedding[0, token:, feature].reshape(old, old))
    expected = np.asarray(image.resize((new, new), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(found[0, token:, feature].reshape(new, new), expected, atol=1e-5)


@pytest.mark.parametrize(
  ("shape", "wanted"),
  [
    ((1, 17, 3), (1, 17, 3)),  # the same
    ((1, 17, 3), (1, 50, 4)),  # another width
    ((1, 17, 3), (1, 16, 3)),  # a class token there only
    ((1, 17, 3), (1, 9, 3)),  # 3x3 without a class token
    ((1, 13, 3), (1, 17, 3)),  # not square
    ((17, 3), (1, 50, 3)),
  ],
)
def test_other_differences_are_not_made_up_for(shape, wanted):
  assert not resizable(shape, wanted)


def test_a_file_for_one_size_of_images_converts_to_another():
  options = {"depth": 1, "features": 8, "heads": 2, "mlp_features": 8, "num_classes": 5}
  model = create_model("vit_b_16", **options)
  key = {"params": jax.random.key(0), "dropout": jax.random.key(0)}
  variables = model.init(key, np.zeros((1, 32, 32, 3)), train=False)
  tensors = to_torchvision("vit_b_16", model, variables)
  _, found = from_tensors("vit_b_16", tensors, (48, 48, 3), **options)
  positions = found["params"].pop("pos_embedding")
  given = variables["params"].pop("pos_embedding")
  np.testing.assert_array_equal(positions, resized(given, (1, 10, 8)))
  jax.tree.map(np.testing.assert_array_equal, dict(variables), found)
