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
_JPEG_SCAN, _JPEG_EXIF = 0xDA, 0xE1
_ORIENTATION_TAG, _TURNED = 0x0112, (5, 6, 7, 8)
_TAIL = 64
"""Bytes at the end in which the end marker is looked for: some writers append padding."""


def check_image(path: Path) -> tuple[int, int]:
    """(width, height) in pixels of a whole JPEG or PNG file, by its content, not its suffix.

    Only headers and the end marker are read, so that a data set is checked in seconds; what lies
    between them is not decoded. The size is that after the rotation that a JPEG's EXIF tag asks
    for, as OpenCV and MMCV read it: annotations made without it would silently miss their objects.

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
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    except struct.error as error:
        raise _truncated(path, "JPEG or PNG", "header") from error
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
    """The size as shown and the offset of the first scan, by walking the segments."""
    size, turned = None, False
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
        end = file.tell() - 2 + length
        if code == _JPEG_SCAN:
            if size is None:
                raise DataError(f"{path} is damaged: a JPEG whose scan precedes its frame header")
            return (size[::-1] if turned else size), end
        if code in _JPEG_FRAMES:
            _, height, width = struct.unpack(">BHH", file.read(5))
            size = (width, height)
        elif code == _JPEG_EXIF:
            turned = turned or _exif_orientation(file.read(length - 2)) in _TURNED
        file.seek(end)


def _exif_orientation(segment: bytes) -> int:
    """The orientation of an APP1 segment's first directory (EXIF 2.3, 4.6.4); 1 without one."""
    order = {b"II": "<", b"MM": ">"}.get(segment[6:8])
    if segment[:6] != b"Exif\0\0" or order is None:
        return 1
    tiff = segment[6:]
    try:
        (start,) = struct.unpack_from(f"{order}I", tiff, 4)
        (count,) = struct.unpack_from(f"{order}H", tiff, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
            if tag == _ORIENTATION_TAG:
                return value
    except struct.error:  # a damaged tag block leaves the image as it is, as in OpenCV
        return 1
    return 1


def _tail(file: BinaryIO) -> bytes:
    end = file.seek(0, 2)
    file.seek(max(0, end - _TAIL))
    return file.read()


def _truncated(path: Path, kind: str, missing: str) -> DataError:
    return DataError(
        f"{path} is truncated: a {kind} file without its {missing}; "
        "restore it or take it out of the data"
    )
