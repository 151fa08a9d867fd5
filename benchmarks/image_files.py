"""Image files checked without decoding them: format, size, and whether the end is there."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

from benchmarks.errors import DataError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
# Frame headers SOF0..SOF15 without DHT (C4), JPG (C8) and DAC (CC): ITU-T T.81, table B.1.
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_WITHOUT_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_SCAN = 0xDA
_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers append padding."""


def check_image(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of a whole JPEG or PNG file, by its content, not its suffix.

    Only headers and the end marker are read, so that a data set is checked in seconds; what lies
    between them is not decoded.

    Raises DataError naming the file: empty, neither JPEG nor PNG, damaged header, or truncated.
    """
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if not start:
                raise DataError(f"{path} is empty (0 bytes); restore it or take it out of the data")
            if start == _PNG_SIGNATURE:
                return _check_png(path, file)
            if start[:2] == b"\xff\xd8":
                return _check_jpeg(path, file)
    except (OSError, struct.error) as error:
        raise DataError(f"{path} cannot be read as an image: {error}") from error
    raise DataError(f"{path} is neither a JPEG nor a PNG file (it starts with {start!r})")


def _check_png(path: Path, file: BinaryIO) -> tuple[int, int]:
    file.seek(16)
    width, height = struct.unpack(">II", file.read(8))
    if _PNG_END not in _tail(file):
        raise _truncated(path, "PNG", "IEND chunk")
    return width, height


def _check_jpeg(path: Path, file: BinaryIO) -> tuple[int, int]:
    size, scan = _jpeg_size_and_scan(path, file)
    if _JPEG_END not in _tail(file):
        # Long padding after the image is legal. Within entropy-coded data FF is followed by 00 or
        # a restart marker, so that an FFD9 behind the scan header is the end of the image.
        file.seek(scan)
        if _JPEG_END not in file.read():
            raise _truncated(path, "JPEG", "end-of-image marker")
    return size


def _jpeg_size_and_scan(path: Path, file: BinaryIO) -> tuple[tuple[int, int], int]:
    """The frame's size and the offset of the first scan, by walking the segments."""
    size = None
    file.seek(2)
    while True:
        prefix, marker = file.read(1), file.read(1)
        while marker == b"\xff":  # fill bytes before a marker
            marker = file.read(1)
        if prefix != b"\xff" or not marker:
            raise _truncated(path, "JPEG", "image data")
        code = marker[0]
        if code in _JPEG_WITHOUT_LENGTH:
            continue
        (length,) = struct.unpack(">H", file.read(2))
        if code == _JPEG_SCAN:
            if size is None:
                raise DataError(f"{path} is damaged: a JPEG whose scan precedes its frame header")
            return size, file.tell() - 2
        if code in _JPEG_FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            size = (width, height)
            file.seek(length - 7, 1)
        else:
            file.seek(length - 2, 1)


def _tail(file: BinaryIO) -> bytes:
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL))
    return file.read()


def _truncated(path: Path, kind: str, missing: str) -> DataError:
    return DataError(
        f"{path} is truncated: a {kind} file without its {missing}; "
        "restore it or take it out of the data"
    )
