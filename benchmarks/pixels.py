"""The one reader of images and of annotations in pixels, for pretraining, detection, segmentation.

The policy, the same everywhere, so that boxes, masks and pixels agree:

- The content decides, not the suffix: JPEG or PNG; anything else is refused.
- The orientation in EXIF (JPEG's APP1, PNG's eXIf) is applied: annotations are of the image as
  shown. An annotation in pixels must not carry one.
- Images become 8-bit RGB: grey and palettes are expanded, CMYK is converted, 16 bits keep their
  upper 8. Color profiles are not applied.
- Alpha is dropped, unless asked for: colors stay as they are stored, also where they are
  transparent. An image that has its whole picture in alpha, over one color, is refused.
- Size and end marker are checked on the header first: nothing of more than 100 megapixels and
  nothing truncated is decoded.
- An annotation is a PNG of one index per pixel, 8-bit greyscale or palette, whose indices count.

OpenCV decodes images, and benchmarks/jpeg_region.py parts of JPEGs, to the same bits. Pillow
decodes annotations, since OpenCV would turn a palette's indices into colors, and alpha, which
OpenCV does not see where a grey image has one transparent value.
"""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.dataset_files import read_data
from benchmarks.errors import DataError
from benchmarks.image_files import MOST_IMAGE_BYTES, read_header
from benchmarks.jpeg_region import decode_region
from engine.fast_paths import is_fast

Pixels = npt.NDArray[np.uint8]

_TURN = {
    3: cv2.ROTATE_180,
    6: cv2.ROTATE_90_CLOCKWISE,
    8: cv2.ROTATE_90_COUNTERCLOCKWISE,
}
_MIRRORED_FIRST = {2: 1, 4: 3, 5: 8, 7: 6}
"""Orientations that are a reflection, and the turn that follows it."""
_PILLOWS_ERRORS = (OSError, SyntaxError, ValueError, EOFError, OverflowError)
"""Its plugins raise all of these for damaged files."""
_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}
"""OpenCV's flag by what it divides both sides by."""


def read_rgb(path: Path) -> Pixels:
    """(H, W, 3) RGB. Raises DataError naming the file; see the module's policy."""
    return EncodedImage.read(path).whole()


def read_bgr(path: Path) -> Pixels:
    """(H, W, 3) in the order that OpenMMLab's transforms work in; otherwise as `read_rgb`."""
    return EncodedImage.read(path)._decoded(cv2.IMREAD_COLOR)


class EncodedImage:
    """An image file, read and its header checked, and decoded as far as it is asked for.

    Raises DataError naming the file; see the module's policy.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        """path: names the image in errors. data: the content of its file."""
        self.path, self._data = path, data
        self._header = read_header(path, io.BytesIO(data))

    @classmethod
    def read(cls, path: Path) -> EncodedImage:
        return cls(path, read_data(path, most_bytes=MOST_IMAGE_BYTES))

    @property
    def shape(self) -> tuple[int, int, int]:
        """As that of `whole()`."""
        width, height = self._header.shown
        return height, width, 3

    def whole(self) -> Pixels:
        """(H, W, 3) RGB."""
        return self._decoded(cv2.IMREAD_COLOR_RGB)

    def with_alpha(self) -> Pixels:
        """(H, W, 4) RGB and alpha, which is 255 where the image has none."""
        image = _upright(self._bare(cv2.IMREAD_COLOR_RGB), self._header.orientation)
        return np.dstack([image, _upright(self._alpha(), self._header.orientation)])

    def small_grey(self, shortest: int) -> Pixels:
        """(h, w) grey, scaled down by 1, 2, 4 or 8 while its shorter side keeps `shortest` pixels.

        A JPEG is decoded in that size, which takes a fraction of the time of `whole()`.
        """
        side = min(self.shape[:2])
        flag = next((f for scale, f in _REDUCED.items() if side >= scale * shortest), None)
        image = self._bare(cv2.IMREAD_GRAYSCALE if flag is None else flag)
        return _upright(image, self._header.orientation)

    def crop(self, top: int, left: int, height: int, width: int) -> Pixels:
        """The same pixels as `whole()[top : top + height, left : left + width]`.

        The rectangle lies within the image. Of most JPEGs only this part is decoded, so that
        damage elsewhere in the file does not show.
        """
        header = self._header
        if header.kind == "JPEG" and header.orientation == 1 and is_fast("jpeg_region"):
            part = decode_region(
                self._data,
                top=top,
                left=left,
                height=height,
                width=width,
                shape=(header.height, header.width),
            )
            if part is not None:
                return part
        return self.whole()[top : top + height, left : left + width]

    def _decoded(self, flag: int) -> Pixels:
        image, header = self._bare(flag), self._header
        if image.shape != (header.height, header.width, 3):
            raise self._damaged()
        if header.has_alpha and (image == image[0, 0]).all() and np.ptp(self._alpha()):
            raise DataError(
                f"{self.path} has its whole picture in its alpha channel, over one color: flatten "
                "it onto a background, or fine-tune with the trick alpha_channel"
            )
        return _upright(image, header.orientation)

    def _alpha(self) -> Pixels:
        """(H, W), as stored."""
        from PIL import Image

        header = self._header
        if not header.has_alpha:
            return np.full((header.height, header.width), 255, np.uint8)
        try:
            with Image.open(io.BytesIO(self._data), formats=["PNG"]) as image:
                return np.asarray(image.convert("RGBA"))[..., 3]
        except _PILLOWS_ERRORS as error:
            raise self._damaged() from error

    def _bare(self, flag: int) -> Pixels:
        """As stored, without the rotation that EXIF asks for."""
        data = np.frombuffer(self._data, np.uint8)
        try:
            image: Pixels | None = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise DataError(f"{self.path} cannot be decoded: {error.err}") from error
        if image is None:
            raise self._damaged()
        return image

    def _damaged(self) -> DataError:
        return DataError(f"{self.path} cannot be decoded: damaged image data; replace or remove it")


def read_indices(path: Path) -> Pixels:
    """(H, W): the index of each pixel of an annotation. Raises DataError naming the file."""
    from PIL import Image

    data = read_data(path, most_bytes=MOST_IMAGE_BYTES)
    header = read_header(path, io.BytesIO(data))
    try:
        with Image.open(io.BytesIO(data), formats=[header.kind]) as image:
            if not header.holds_indices:
                raise DataError(
                    f"{path} has mode {image.mode} ({header.kind}); an annotation is a PNG of one "
                    "8-bit index per pixel (greyscale or palette)"
                )
            if header.orientation != 1:
                raise DataError(
                    f"{path} has an EXIF orientation ({header.orientation}); an annotation is "
                    "stored as its image is shown"
                )
            return np.asarray(image, dtype=np.uint8)
    except _PILLOWS_ERRORS as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be decoded: {error}") from error


def _upright(image: Pixels, orientation: int) -> Pixels:
    """As shown, by EXIF 2.3's orientation, 1..8."""
    if orientation in _MIRRORED_FIRST:
        image, orientation = cv2.flip(image, 1), _MIRRORED_FIRST[orientation]
    return image if orientation == 1 else cv2.rotate(image, _TURN[orientation])
