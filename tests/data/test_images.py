import io
import os
import struct

import numpy as np
import pytest
from PIL import Image

from cnnlab.data import images
from cnnlab.errors import DataError

from .conftest import write_image


def test_png_comes_back_as_written(tmp_path):
  pixels = write_image(tmp_path / "a.png", np.random.default_rng(0), 5, 7)
  np.testing.assert_array_equal(images.load_image(tmp_path / "a.png"), pixels)


def test_grey_becomes_three_equal_channels_and_back(tmp_path):
  pixels = write_image(tmp_path / "a.png", np.random.default_rng(0), 5, 7, channels=1)
  loaded = images.load_image(tmp_path / "a.png", None, 3)
  np.testing.assert_array_equal(loaded, np.repeat(pixels, 3, axis=2))
  np.testing.assert_array_equal(images.fit_array(loaded, None, 1), pixels)
  np.testing.assert_array_equal(images.fit_array(pixels, None, 3), loaded)


def test_sixteen_bit_grey_keeps_its_upper_byte(tmp_path):
  deep = np.array([[0, 255, 256], [0x1234, 0xFF00, 0xFFFF]], np.uint16)
  Image.fromarray(deep).save(tmp_path / "a.png")
  np.testing.assert_array_equal(images.load_image(tmp_path / "a.png", None, 1)[..., 0], deep >> 8)


def test_fitting_scales_the_short_side_and_crops_the_centre():
  # A wide image of three vertical bands: of 8x24, the middle 8x8 is left.
  wide = np.zeros((8, 24, 3), np.uint8)
  wide[:, 8:16] = 200
  np.testing.assert_array_equal(images.fit_array(wide, (8, 8), 3), np.full((8, 8, 3), 200))
  small = images.fit_array(wide, (4, 4), 3)
  assert small.shape == (4, 4, 3)
  assert (small[:, 1:3] == 200).all()
  assert images.fit_array(wide, (16, 20), 3).shape == (16, 20, 3)


def test_exif_orientation_is_applied(tmp_path):
  image = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
  exif = Image.Exif()
  exif[0x0112] = 6  # turn by 90 degrees clockwise
  image.save(tmp_path / "a.png", exif=exif)
  loaded = images.load_image(tmp_path / "a.png", None, 1)[..., 0]
  np.testing.assert_array_equal(loaded, np.rot90(np.asarray(image), -1))


def test_large_jpeg_at_reduced_scale_is_close_to_the_full_one(tmp_path):
  yy, xx = np.mgrid[:400, :600]
  smooth = np.stack([yy / 400 * 255, xx / 600 * 255, 128 + 0 * xx], -1).astype(np.uint8)
  Image.fromarray(smooth).save(tmp_path / "a.jpg", quality=95)
  reduced = images.load_image(tmp_path / "a.jpg", (40, 40)).astype(int)
  full = images.fit_array(images.load_image(tmp_path / "a.jpg"), (40, 40), 3)
  assert np.abs(reduced - full).max() <= 3


@pytest.mark.parametrize("damage", ["truncated", "text", "empty", "missing"])
def test_unreadable_images_are_named(tmp_path, damage):
  path = tmp_path / "bad.png"
  if damage == "truncated":
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(
      buffer, "PNG"
    )
    path.write_bytes(buffer.getvalue()[:4000])
  elif damage != "missing":
    path.write_text("no image" if damage == "text" else "")
  with pytest.raises(DataError, match=r"bad\.png"):
    images.load_image(path)


def test_truncated_jpeg_is_unreadable():
  buffer = io.BytesIO()
  Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(buffer, "JPEG")
  with pytest.raises(images.BadImage, match="(?i)truncated"):
    images.decode(buffer.getvalue()[:-200], None, 3)


def encoded(kind):
  buffer = io.BytesIO()
  Image.new("RGB", (6, 6), (9, 9, 9)).save(buffer, kind)
  return buffer.getvalue()


@pytest.mark.parametrize("kind", ["EPS", "GIF", "TIFF", "PPM"])
def test_formats_that_are_not_listed_are_never_opened(tmp_path, kind):
  (tmp_path / "a.png").write_bytes(encoded(kind))
  with pytest.raises(DataError, match=r"a\.png: its content is not of a format .*PNG, JPEG, BMP"):
    images.load_image(tmp_path / "a.png")
  with pytest.raises(DataError, match="not of a format"):
    images.image_size(tmp_path / "a.png")


def test_the_content_counts_and_not_the_suffix(tmp_path):
  (tmp_path / "a.png").write_bytes(encoded("BMP"))
  assert images.load_image(tmp_path / "a.png").tolist() == np.full((6, 6, 3), 9).tolist()


@pytest.mark.parametrize("kind", ["a pipe", "a device", "a folder"])
def test_what_is_no_plain_file_is_not_opened(tmp_path, kind):
  path = tmp_path / "a.png"
  if kind == "a pipe":
    os.mkfifo(path)  # opening it would wait for a writer
  elif kind == "a device":
    path.symlink_to("/dev/zero")  # reading it would never end
  else:
    path.mkdir()
  with pytest.raises(DataError, match=rf"a\.png: not a plain file but {kind}"):
    images.load_image(path)


def test_an_image_of_too_many_pixels_is_refused_by_its_header(tmp_path):
  data = bytearray(encoded("BMP"))
  data[18:26] = struct.pack("<ii", 30_000, 30_000)
  (tmp_path / "a.bmp").write_bytes(data)
  with pytest.raises(DataError, match=r"900000000 pixels\) exceeds limit of 178956970 pixels$"):
    images.load_image(tmp_path / "a.bmp")
