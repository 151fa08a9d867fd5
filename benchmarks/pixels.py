"""The one reader of images and of annotations in pixels, for pretraining, detection, segmentation.

The policy, the same everywhere, so that boxes, masks and pixels agree:

- The content decides, not the suffix: JPEG or PNG; anything else is refused.
- The orientation in EXIF (JPEG's APP1, PNG's eXIf) is applied: annotations are of the image as
  shown. An annotation in pixels must not carry one.
- Images become 8-bit RGB: grey and palettes are expanded, alpha is dropped (colors stay as they are
  stored, also where they are transparent), CMYK is converted, 16 bits keep their upper 8. Color
  profiles are not applied.
- Size and end marker are checked on the header first: nothing of more than 100 megapixels and
  nothing truncated is decoded.
- An annotation is a PNG of one index per pixel, 8-bit greyscale or palette, whose indices count.

OpenCV decodes images, and benchmarks/jpeg_region.py parts of JPEGs, to the same bits. Pillow
decodes annotations: OpenCV would turn a palette's indices into colors.
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
        data, header = np.frombuffer(self._data, np.uint8), self._header
        try:
            image = cv2.imdecode(data, flag | cv2.IMREAD_IGNORE_ORIENTATION)
        except cv2.error as error:
            raise DataError(f"{self.path} cannot be decoded: {error.err}") from error
        if image is None or image.shape != (header.height, header.width, 3):
            raise DataError(
                f"{self.path} cannot be decoded: damaged image data; replace or remove it"
            )
        return _upright(image, header.orientation)


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
    # Pillow's plugins raise all of these for damaged files.
    except (OSError, SyntaxError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{path} cannot be decoded: {error}") from error


def _upright(image: Pixels, orientation: int) -> Pixels:
    """As shown, by EXIF 2.3's orientation, 1..8."""
    if orientation in _MIRRORED_FIRST:
        image, orientation = cv2.flip(image, 1), _MIRRORED_FIRST[orientation]
    return image if orientation == 1 else cv2.rotate(image, _TURN[orientation])
