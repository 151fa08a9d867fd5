"""Files that are no images, no longer images, or images meant to do harm, by their names."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.errors import DataError
from benchmarks.pixels import read_rgb
from benchmarks.schema import load_benchmark
from benchmarks.validation import validate

MEASURE = """
import resource, sys
from pathlib import Path
from benchmarks.pixels import read_rgb
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_rgb(Path(sys.argv[1]))
except ValueError as error:
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, error)
"""


@cache
def jpeg() -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (60, 64, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def png_of(width: int, height: int, data: bytes) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + checksum

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + (chunk(b"IDAT", data) if data else b"")
        + chunk(b"IEND", b"")
    )


@cache
def bomb(side: int = 24_000) -> bytes:
    """A whole grey PNG: half a megabyte that unfolds to 576 MB, as RGB to 1.7 GB."""
    rows = bytes(1000 * (1 + side))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(rows) + packer.flush(zlib.Z_FULL_FLUSH)  # repeats as it is
    checksum = 1
    for _ in range(side // 1000):
        checksum = zlib.adler32(rows, checksum)
    ending = packer.flush() + struct.pack(">I", checksum)
    return png_of(side, side, b"\x78\xda" + block * (side // 1000) + ending)


def header_only() -> bytes:
    data = jpeg()
    scan = data.index(b"\xff\xda")
    return data[: scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]] + b"\xff\xd9"


BAD: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "html": lambda: b"<!DOCTYPE html><html><body>404 Not Found</body></html>",
    "gif": lambda: b"GIF89a" + bytes(100),
    "truncated": lambda: jpeg()[: len(jpeg()) // 2],
    "start only": lambda: b"\xff\xd8",
    "header only": header_only,
    "header only png": lambda: png_of(64, 60, b""),
    "no pixels": lambda: png_of(0, 60, zlib.compress(b"")),
    "bomb": bomb,
}


@pytest.mark.reliability(6, "What is no whole image is refused by name, checked or read")
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize(
    "place",
    [
        "imagenet/train/blue/0.jpg",
        "VOCdevkit/VOC2007/JPEGImages/test0.jpg",
        "ADEChallengeData2016/images/training/0.jpg",
        "ADEChallengeData2016/annotations/training/0.png",
    ],
)
def test_a_hostile_file_is_refused_by_name(
    make_benchmark: Callable[..., Path], tmp_path: Path, kind: str, place: str
) -> None:
    toml = make_benchmark(tmp_path)
    file = tmp_path / place
    file.write_bytes(BAD[kind]())
    with pytest.raises(DataError, match=str(file)):
        validate(load_benchmark(toml))
    with pytest.raises(DataError, match=f"^{file} "):
        read_rgb(file)


@pytest.mark.reliability(6, "A 24,000 x 24,000 PNG is refused without being decoded")
def test_a_bomb_costs_no_memory(tmp_path: Path, measured: Callable[[str], None]) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(bomb())
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, str(file)], capture_output=True, text=True, check=True
    )
    megabytes, _, message = done.stdout.partition(" ")
    assert "24000x24000 pixels" in message
    assert int(megabytes) < 20
    measured(f"{megabytes} MB of memory for a bomb of 1,728 MB")


def test_a_file_that_went_bad_after_it_was_checked_is_named_when_it_is_read(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    benchmark = load_benchmark(make_benchmark(tmp_path))
    validate(benchmark)
    file = tmp_path / "imagenet/train/blue/0.jpg"
    file.write_bytes(file.read_bytes()[:-30])
    with pytest.raises(DataError, match=f"^{file} is truncated"):
        read_rgb(file)


def test_what_only_decoding_shows_is_named_when_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "image.png"
    cv2.imwrite(str(file), np.random.default_rng(0).integers(0, 256, (60, 64, 3), np.uint8))
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    with pytest.raises(DataError, match=f"^{file} cannot be decoded"):
        read_rgb(file)


@pytest.mark.parametrize("kind", ["pipe", "folder"])
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "image.jpg"
    if kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    with pytest.raises(DataError, match=f"^{path} is no regular file"):
        read_rgb(path)


def test_a_link_out_of_the_root_is_followed(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    """Clusters keep the files elsewhere."""
    toml = make_benchmark(tmp_path / "data")
    file = tmp_path / "data/imagenet/train/blue/0.jpg"
    file.rename(tmp_path / "elsewhere.jpg")
    file.symlink_to(tmp_path / "elsewhere.jpg")
    assert not validate(load_benchmark(toml))["pretraining"].left_out
