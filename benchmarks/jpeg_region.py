"""Decodes a part of a JPEG, by the TurboJPEG library that the wheel `turbojpeg` brings.

The wheel's own Python functions decode whole images only, so that its shared library is called
through ctypes, which lets other threads run meanwhile. Errors come back as codes: a damaged file
cannot end the process. Where the wheel is not installed nothing is decoded here.

Inside the region the pixels are those of the whole image, bit for bit: the columns to the left of
the region's block and the rows above it are skipped, and those below it are not even read.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# turbojpeg.h of libjpeg-turbo 3: TJINIT, TJPF, TJPARAM, TJCS, and the blocks' sizes by TJSAMP.
_DECOMPRESS = 1
_RGB = 0
_SUBSAMPLING, _WIDTH, _HEIGHT, _PRECISION, _COLORSPACE, _LOSSLESS = 4, 5, 6, 7, 8, 15
_PLAIN_COLORSPACES = (0, 1, 2)  # RGB, YCbCr, grey
_BLOCK_WIDTHS = {0: 8, 1: 16, 2: 16, 3: 8, 4: 8, 5: 32, 6: 8}
"""Of 4:4:4, 4:2:2, 4:2:0, grey, 4:4:0, 4:1:1 and 4:4:1."""
_ROWS_AROUND = 2
"""Chroma is interpolated from the neighbours; the columns have a block on both sides for it."""


class _Region(ctypes.Structure):
    _fields_ = (
        ("x", ctypes.c_int),
        ("y", ctypes.c_int),
        ("w", ctypes.c_int),
        ("h", ctypes.c_int),
    )


@cache
def _library() -> Any:
    """The shared library, None where it is not there or not of version 3."""
    spec = find_spec("turbojpeg")
    if spec is None or spec.origin is None:
        return None
    for file in sorted(Path(spec.origin).parent.glob("turbojpeg.libs/libturbojpeg*.so*")):
        try:
            library = ctypes.CDLL(str(file))
            pointer, integer = ctypes.c_void_p, ctypes.c_int
            library.tj3Init.restype = pointer
            library.tj3Init.argtypes = [integer]
            library.tj3Destroy.restype = None
            library.tj3Destroy.argtypes = [pointer]
            library.tj3Get.argtypes = [pointer, integer]
            library.tj3DecompressHeader.argtypes = [pointer, ctypes.c_char_p, ctypes.c_size_t]
            library.tj3SetCroppingRegion.argtypes = [pointer, _Region]
            library.tj3Decompress8.argtypes = [
                pointer,
                ctypes.c_char_p,
                ctypes.c_size_t,
                pointer,
                integer,
                integer,
            ]
        except (OSError, AttributeError):
            continue
        return library
    return None


def decode_region(
    data: bytes, *, top: int, left: int, height: int, width: int, shape: tuple[int, int]
) -> npt.NDArray[np.uint8] | None:
    """(height, width, 3) RGB: the rectangle at (top, left) of a JPEG of `shape` (rows, columns).

    The rectangle lies within the image. None where only the whole image can be decoded: without
    the library, for other than 8-bit RGB, YCbCr and grey, for unusual samplings, and for what the
    library finds anything wrong with.
    """
    library = _library()
    # A handle of its own: one that decoded a damaged file before was seen to give other pixels.
    handle = library.tj3Init(_DECOMPRESS) if library is not None else None
    if not handle:
        return None
    try:
        return _decode(library, handle, data, (top, left, height, width), shape)
    finally:
        library.tj3Destroy(handle)


def _decode(
    library: Any,
    handle: int,
    data: bytes,
    box: tuple[int, int, int, int],
    shape: tuple[int, int],
) -> npt.NDArray[np.uint8] | None:
    if library.tj3DecompressHeader(handle, data, len(data)):
        return None
    block = _BLOCK_WIDTHS.get(library.tj3Get(handle, _SUBSAMPLING))
    plain = (
        library.tj3Get(handle, _COLORSPACE) in _PLAIN_COLORSPACES
        and library.tj3Get(handle, _PRECISION) == 8
        and library.tj3Get(handle, _LOSSLESS) == 0
        and (library.tj3Get(handle, _HEIGHT), library.tj3Get(handle, _WIDTH)) == shape
    )
    if block is None or not plain:
        return None
    top, left, height, width = box
    first_row, last_row = max(0, top - _ROWS_AROUND), min(shape[0], top + height + _ROWS_AROUND)
    first = max(0, left // block - 1) * block
    last = min(shape[1], left + width + block)
    region = _Region(first, first_row, last - first, last_row - first_row)
    if library.tj3SetCroppingRegion(handle, region):
        return None
    pixels = np.empty((last_row - first_row, last - first, 3), np.uint8)
    # Warnings, as of damaged data, come back as errors do.
    if library.tj3Decompress8(handle, data, len(data), pixels.ctypes.data, 0, _RGB):
        return None
    return pixels[top - first_row :, left - first :][:height, :width]
