"""Images in every form that a user may hold."""

import numpy as np
import pytest
from PIL import Image

from cnnlab.data.given import fitted
from cnnlab.data.images import load_image
from cnnlab.errors import DataError

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 256, (10, 14), dtype=np.uint8)
COLOR = RNG.integers(0, 256, (10, 14, 3), dtype=np.uint8)


def stored(images, size=(10, 14), channels=3):
  return [one.stored for one in fitted(images, size, channels)]


@pytest.mark.parametrize(
  ("given", "count"),
  [
    (GRAY, 1),
    (COLOR, 1),
    (GRAY[..., None], 1),
    (np.dstack([COLOR, GRAY]), 1),
    (np.stack([GRAY] * 5), 5),
    (np.stack([COLOR] * 2), 2),
    ([GRAY, COLOR, np.stack([COLOR] * 2)], 4),
    ((COLOR.astype(np.int64),), 1),
    ([Image.fromarray(COLOR), Image.fromarray(GRAY)], 2),
  ],
)
def test_arrays_and_pil_images(given, count):
  found = stored(given)
  assert len(found) == count
  assert {(one.shape, one.dtype) for one in found} == {((10, 14, 3), np.dtype(np.uint8))}


def test_values_are_kept_and_gray_is_repeated():
  np.testing.assert_array_equal(stored(COLOR)[0], COLOR)
  np.testing.assert_array_equal(stored(GRAY)[0], np.stack([GRAY] * 3, -1))
  np.testing.assert_array_equal(stored(np.dstack([COLOR, GRAY]))[0], COLOR)
  np.testing.assert_array_equal(stored(GRAY, channels=1)[0], GRAY[..., None])


def test_every_form_of_an_image_is_fitted_as_its_file_is(tmp_path):
  file = tmp_path / "a.png"
  Image.fromarray(COLOR).save(file)
  expected = load_image(file, (6, 6))
  forms = [file, str(file), Image.open(file), COLOR, COLOR[None]]
  for one in fitted(forms, (6, 6), 3):
    np.testing.assert_array_equal(one.stored, expected)
    assert one.original == (10, 14)


def test_a_picture_is_turned_as_its_camera_says(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6
  file = tmp_path / "a.jpg"
  Image.fromarray(COLOR).resize((140, 100)).save(file, exif=exif)
  for one in fitted([file, Image.open(file)], (35, 25), 3):
    assert one.original == (140, 100)
    np.testing.assert_allclose(
      one.stored.astype(int), load_image(file, (35, 25)).astype(int), atol=40
    )


def test_a_folder_stands_for_the_images_in_it(tmp_path):
  for name in ("b.png", "a.PNG", "c.jpg"):
    Image.fromarray(COLOR).save(tmp_path / name)
  (tmp_path / "notes.txt").write_text("no image")
  names = [one.name for one in fitted(tmp_path, (4, 4), 3)]
  assert [name.rpartition("/")[2] for name in names] == ["a.PNG", "b.png", "c.jpg"]
  (tmp_path / "empty").mkdir()
  with pytest.raises(DataError, match="holds no image"):
    stored(tmp_path / "empty")


@pytest.mark.parametrize(
  ("given", "message"),
  [
    (COLOR / 255, "float64 from 0 to 1; allowed: integers"),
    (COLOR.astype(int) - 5, "allowed: integers from 0 to 255"),
    (COLOR > 5, "bool from 0 to 1"),
    (np.array([None]), "holds object; allowed"),
    (np.zeros((0, 5)), "holds float64; allowed"),
    (np.zeros((3, 10, 14), np.uint8), "channels first"),
    (np.zeros((2, 3, 10, 14), np.uint8), "has the shape 2x3x10x14"),
    (np.zeros((0, 10, 14, 3), np.uint8), "shape 0x10x14x3"),
    (np.zeros(5, np.uint8), "has the shape 5"),
    (7, "given as int"),
    ("missing.png", r"missing\.png: No such file"),
    ([None], "given as NoneType"),
  ],
)
def test_what_is_no_image_is_refused(given, message):
  with pytest.raises(DataError, match=message):
    stored(given)
