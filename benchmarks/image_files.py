"""Image files checked without decoding them: format, size, rotation, and whether the end is there.

What these headers say decides how a file is read (benchmarks/pixels.py), so that sizes, boxes,
masks and pixels cannot disagree.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.dataset_files import open_data
from benchmarks.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
MOST_PIXELS = 100_000_000
"""More are refused before anything is decoded: a few kilobytes of PNG can unfold to gigabytes."""
MOST_IMAGE_BYTES = 512 * 2**20

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_PNG_GREY, _PNG_PALETTE, _PNG_WITH_ALPHA = 0, 3, (4, 6)
_JPEG_END = b"\xff\xd9"
# Frame headers SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN, _JPEG_EXIF = 0xDA, 0xE1
_ORIENTATION_TAG, _TURNED = 0x0112, (5, 6, 7, 8)
_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers append padding."""
_MOST_FILL_BYTES = 4096
_MOST_HEADER_BYTES = 32 * 2**20
_MOST_EXIF_BYTES = 2**16


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """kind: "JPEG" or "PNG". width, height: as stored, in pixels. orientation: EXIF's, 1..8.

    holds_indices: a PNG of one 8-bit index per pixel, as an annotation is. has_alpha: a PNG some of
    whose pixels may be transparent.
    """

    kind: str
    width: int
    height: int
    orientation: int
    holds_indices: bool
    has_alpha: bool = False

    @property
    def shown(self) -> tuple[int, int]:
        """(width, height) after the rotation that EXIF asks for."""
        turned = self.orientation in _TURNED
        return (self.height, self.width) if turned else (self.width, self.height)


def check_image(path: Path) -> ImageHeader:
    """The header of a whole JPEG or PNG file; see `read_header`."""
    with open_data(path, most_bytes=MOST_IMAGE_BYTES) as file:
        return read_header(path, file)


def read_header(path: Path, file: BinaryIO) -> ImageHeader:
    """The header of a whole JPEG or PNG, by its content, not by the suffix of `path`.

    Only headers and the end marker are read, so that a data set is checked in seconds; what lies
    between them is not decoded.

    Raises DataError naming the file: empty, neither JPEG nor PNG, damaged header, truncated, or
    more than 100 megapixels.
    """
    try:
        start = file.read(8)
        if not start:
            raise DataError(f"{path} is empty (0 bytes); restore it or take it out of the data")
        if start == _PNG_SIGNATURE:
            header = _read_png(path, file)
        elif start[:2] == b"\xff\xd8":
            header = _read_jpeg(path, file)
        else:
            raise DataError(f"{path} is neither a JPEG nor a PNG file (it starts with {start!r})")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except struct.error as error:
        raise _truncated(path, "JPEG or PNG", "header") from error
    if not header.width or not header.height:
        raise _damaged(path, f"{header.width}x{header.height} pixels")
    if header.width * header.height > MOST_PIXELS:
        raise DataError(
            f"{path} has {header.width}x{header.height} pixels, more than "
            f"{MOST_PIXELS // 1_000_000} megapixels, and is not decoded; scale it down"
        )
    return header


def _read_png(path: Path, file: BinaryIO) -> ImageHeader:
    length, name, width, height, depth, color = struct.unpack(">I4sIIBB", file.read(18))
    if name != b"IHDR" or length != 13:
        raise _damaged(path, "a PNG that does not begin with its header")
    orientation, has_data, at = 1, False, 33
    has_alpha = color in _PNG_WITH_ALPHA
    while name != b"IEND":
        file.seek(at)
        chunk = file.read(8)
        if len(chunk) < 8:
            raise _truncated(path, "PNG", "IEND chunk")
        length, name = struct.unpack(">I4s", chunk)
        has_data = has_data or (name == b"IDAT" and length > 0)
        has_alpha = has_alpha or name == b"tRNS"
        if name == b"eXIf":
            orientation = _tiff_orientation(file.read(min(length, _MOST_EXIF_BYTES)))
        at += 12 + length
    if not has_data:
        raise _truncated(path, "PNG", "image data")
    if _PNG_END not in _tail(file):
        raise _truncated(path, "PNG", "IEND chunk")
    return ImageHeader(
        kind="PNG",
        width=width,
        height=height,
        orientation=orientation,
        holds_indices=(color == _PNG_GREY and depth == 8) or color == _PNG_PALETTE,
        has_alpha=has_alpha,
    )


def _read_jpeg(path: Path, file: BinaryIO) -> ImageHeader:
    header, scan = _jpeg_header_and_scan(path, file)
    end = _tail(file).rfind(_JPEG_END)
    if end >= 0:
        end += max(0, file.tell() - _TAIL)
    else:
        # Long padding after the image is legal. Within entropy-coded data FF is followed by 00 or
        # a restart marker, so that an FFD9 behind the scan header is the end of the image.
        file.seek(scan)
        end = file.read().find(_JPEG_END)
        if end < 0:
            raise _truncated(path, "JPEG", "end-of-image marker")
        end += scan
    if end <= scan:
        raise _truncated(path, "JPEG", "image data")
    return header


def _jpeg_header_and_scan(path: Path, file: BinaryIO) -> tuple[ImageHeader, int]:
    """The header, and the offset of the first scan's data, by walking the segments."""
    size, orientation, at = None, 1, 2
    while at < _MOST_HEADER_BYTES:
        file.seek(at)
        prefix, marker = file.read(1), file.read(1)
        at += 2
        for _ in range(_MOST_FILL_BYTES):
            if marker != b"\xff":
                break
            marker, at = file.read(1), at + 1
        if prefix != b"\xff" or not marker:
            raise _truncated(path, "JPEG", "image data")
        code = marker[0]
        if code in _JPEG_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if length < 2:
            raise _damaged(path, "a JPEG segment without a length")
        at += length
        if code == _JPEG_SCAN:
            if size is None:
                raise _damaged(path, "a JPEG whose scan precedes its frame header")
            width, height = size
            header = ImageHeader(
                kind="JPEG",
                width=width,
                height=height,
                orientation=orientation,
                holds_indices=False,
            )
            return header, at
        if code in _JPEG_FRAMES and size is None:
            _, height, width = struct.unpack(">BHH", file.read(5))
            size = (width, height)
        elif code == _JPEG_EXIF and orientation == 1:
            segment = file.read(length - 2)
            if segment[:6] == b"Exif\0\0":
                orientation = _tiff_orientation(segment[6:])
    raise _damaged(path, "a JPEG without image data in its first megabytes")


def _tiff_orientation(tiff: bytes) -> int:
    """The orientation in the first directory of EXIF data (EXIF 2.3, 4.6.4); 1 without one.

    A damaged block leaves the image as it is.
    """
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return value if 1 <= value <= 8 else 1
    except struct.error:
        return 1
    return 1


def _tail(file: BinaryIO) -> bytes:
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL))
    return file.read()


def _damaged(path: Path, what: str) -> DataError:
    return DataError(f"{path} is damaged: {what}; restore it or take it out of the data")


def _truncated(path: Path, kind: str, missing: str) -> DataError:
    return DataError(
        f"{path} is truncated: a {kind} file without its {missing}; "
        "restore it or take it out of the data"
    )
