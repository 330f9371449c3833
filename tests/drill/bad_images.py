"""A corpus of image files, good and bad, made in memory: every format x every damage."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image

SIDE = 16
READ = ("PNG", "JPEG", "BMP", "WEBP")  # what an image folder may hold
SAVE = {"WEBP": {"lossless": True}, "JPEG": {"quality": 95, "subsampling": 0}}


@dataclass(frozen=True)
class Sample:
  """An image file.

  Attributes:
    kind: of damage.
    name: what exactly.
    data: the file.
    mean: what the mean of its pixels must be, within 3 of 255; None where that is not known.
    readable: whether it must be read (True), must be refused (False), or may be either (None).
  """

  kind: str
  name: str
  data: bytes
  mean: float | None = None
  readable: bool | None = None


def samples() -> list[Sample]:
  """Returns the corpus."""
  return [*_sound(), *_unusual(), *_damaged(), *_foreign(), *_headers()]


def pixels(side: int = SIDE) -> np.ndarray:
  """Returns uint8 [side, side, 3] with a mean of 100."""
  return np.full((side, side, 3), 100, np.uint8)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
  """Returns a file's bytes."""
  file = io.BytesIO()
  image.save(file, kind, **{**SAVE.get(kind, {}), **options})
  return file.getvalue()


def _plain(kind: str) -> bytes:
  noise = np.random.default_rng(0).integers(60, 141, (SIDE, SIDE, 3), np.uint8)
  return encode(Image.fromarray(noise), kind)


def _sound() -> list[Sample]:
  found = []
  for kind in READ:
    for side in (1, 2, 17, 300):
      data = encode(Image.fromarray(pixels(side)), kind)
      found.append(Sample("sound images", f"{kind} of {side}x{side}", data, 100, True))
    for shape in ((1, 500), (500, 1)):
      data = encode(Image.fromarray(np.full((*shape, 3), 100, np.uint8)), kind)
      found.append(Sample("sound images", f"{kind} of {shape}", data, 100, True))
  return found


def _unusual() -> list[Sample]:
  rgb = Image.fromarray(pixels())
  grey16 = Image.fromarray(np.full((SIDE, SIDE), 100 * 257, np.uint16))
  clear = rgb.convert("RGBA")
  clear.putalpha(0)
  palette = rgb.quantize(4)
  exif = Image.Exif()
  exif[0x0112] = 6
  frames = [rgb, Image.fromarray(pixels() + 100)]
  profile = b"not a color profile"
  made = {
    "16-bit PNG": encode(grey16, "PNG"),
    "1-bit PNG": encode(Image.fromarray(np.ones((SIDE, SIDE), bool)), "PNG"),
    "grey JPEG": encode(rgb.convert("L"), "JPEG"),
    "CMYK JPEG": encode(rgb.convert("CMYK"), "JPEG"),
    "YCbCr JPEG, progressive": encode(rgb, "JPEG", progressive=True),
    "palette PNG": encode(palette, "PNG"),
    "palette PNG with transparency": encode(palette, "PNG", transparency=b"\0\1\2\3"),
    "palette BMP": encode(palette, "BMP"),
    "transparent PNG": encode(clear, "PNG"),
    "grey PNG with alpha": encode(rgb.convert("LA"), "PNG"),
    "transparent WebP": encode(clear, "WEBP", exact=True),
    "animated PNG": encode(rgb, "PNG", save_all=True, append_images=frames[1:]),
    "animated WebP": encode(rgb, "WEBP", save_all=True, append_images=frames[1:]),
    "JPEG turned by EXIF": encode(rgb, "JPEG", exif=exif),
    "JPEG with a broken EXIF block": encode(rgb, "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\xff\xff"),
    "PNG with a broken profile": encode(rgb, "PNG", icc_profile=profile),
    "JPEG with a broken profile": encode(rgb, "JPEG", icc_profile=profile),
    "PNG with bytes behind its end": encode(rgb, "PNG") + b"x" * 1000,
    "JPEG with bytes before its start": b"\n" + encode(rgb, "JPEG"),
  }
  mean = {"1-bit PNG": 255.0}
  may_fail = ("broken", "before")
  return [
    Sample(
      "unusual images",
      name,
      data,
      mean.get(name, 100.0),
      None if any(word in name for word in may_fail) else True,
    )
    for name, data in made.items()
  ]


def _damaged() -> list[Sample]:
  found = []
  for kind in READ:
    data = _plain(kind)
    cuts = sorted({0, 1, 2, 8, 16, 30, *(len(data) * part // 10 for part in range(1, 10))})
    for cut in [*cuts, len(data) - 40]:
      found.append(
        Sample("truncated images", f"{kind} cut at {cut} of {len(data)}", data[:cut], None, False)
      )
    for position in [*range(0, 64, 4), *range(64, len(data), len(data) // 12)]:
      flipped = bytearray(data)
      flipped[position] ^= 0xFF
      found.append(Sample("flipped bytes", f"{kind}, byte {position}", bytes(flipped)))
    found.append(Sample("flipped bytes", f"{kind} of zeros", bytes(len(data)), None, False))
  return found


def _foreign() -> list[Sample]:
  """Other formats of Pillow's, and files that are no images, under the name of a PNG."""
  rgb = Image.fromarray(pixels())
  found = {
    "text": b"hello\n" * 50,
    "HTML": b"<!DOCTYPE html><html><body>404</body></html>",
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    "a program": b"\x7fELF" + bytes(100),
    "zip": b"PK\3\4" + bytes(100),
    "gzip": b"\x1f\x8b\x08" + bytes(100),
    "NumPy": b"\x93NUMPY\1\0" + bytes(100),
  }
  for kind in ("EPS", "PDF", "GIF", "TIFF", "PPM", "ICO", "TGA", "PCX", "SGI", "DDS", "JPEG2000",
               "IM", "MSP", "SPIDER", "XBM", "QOI", "ICNS", "AVIF", "DIB", "BLP"):  # fmt: skip
    for mode in ("RGB", "L", "1", "P", "F"):
      try:
        found[kind] = encode(rgb.convert(mode), kind)
        break
      except (OSError, ValueError, KeyError):
        continue
  found["WMF"] = b"\xd7\xcd\xc6\x9a\0\0" + bytes(100)
  found["PSD"] = b"8BPS" + bytes(100)
  found["FITS"] = b"SIMPLE  =                    T" + b" " * 3000
  return [Sample("foreign formats", f"a .png of {k}", d, None, False) for k, d in found.items()]


def _chunk(kind: bytes, data: bytes) -> bytes:
  return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, rows: bytes, crc: bool = True) -> bytes:
  """Returns a grey PNG with the size and the compressed rows that are given, in agreement or not."""
  header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
  if not crc:
    header = header[:-4] + b"\1\2\3\4"
  return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def _headers() -> list[Sample]:
  """Headers that promise what does not follow, or too much."""
  bmp = bytearray(_plain("BMP"))
  jpeg = bytearray(_plain("JPEG"))
  frame = jpeg.index(b"\xff\xc0") + 5
  made: dict[str, bytes] = {
    "PNG of a wrong header checksum": png(4, 4, b"\0" + bytes(4) * 4, crc=False),
    "PNG of 0x0": png(0, 0, b""),
    "PNG of 0x9": png(0, 9, b""),
    "PNG without rows": png(9, 9, b""),
  }
  for side in (30_000, 65_500, 2**31 - 1):
    made[f"PNG of {side}x{side} with one row"] = png(side, side, bytes(100))
    wide = bytes(bmp[:18]) + struct.pack("<ii", side, side) + bytes(bmp[26:])
    made[f"BMP of {side}x{side} with one row"] = wide
  made["BMP of 0x0"] = bytes(bmp[:18]) + struct.pack("<ii", 0, 0) + bytes(bmp[26:])
  made["BMP of -5x-5"] = bytes(bmp[:18]) + struct.pack("<ii", -5, -5) + bytes(bmp[26:])
  for side in (0, 30_000, 65_500):
    jpeg[frame : frame + 4] = struct.pack(">HH", side, side)
    made[f"JPEG of {side}x{side} with one block"] = bytes(jpeg)
  text = _chunk(b"zTXt", b"comment\0\0" + zlib.compress(bytes(200_000_000)))
  whole = encode(Image.fromarray(pixels()), "PNG")
  bomb = whole[:33] + text + whole[33:]
  found = [Sample("headers", name, data, None, False) for name, data in made.items()]
  return [*found, Sample("headers", "PNG with 200 MB of compressed text", bomb)]
