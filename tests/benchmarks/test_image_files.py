"""Whole images are told from damaged ones without decoding them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from benchmarks.errors import DataError
from benchmarks.image_files import check_image


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_size_of_what_opencv_writes(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"image{suffix}"
    cv2.imwrite(str(file), noise(37, 53))
    assert check_image(file).shown == (53, 37)


@pytest.mark.parametrize(
    ("mode", "options"),
    [("RGB", {"progressive": True}), ("L", {}), ("CMYK", {}), ("RGB", {"comment": b"\xff\xd9"})],
)
def test_size_of_other_jpegs(tmp_path: Path, mode: str, options: dict) -> None:
    file = tmp_path / "image.jpg"
    Image.fromarray(noise(37, 53)).convert(mode).save(file, **options)
    assert check_image(file).shown == (53, 37)


def test_the_content_counts_and_not_the_suffix(tmp_path: Path) -> None:
    file = tmp_path / "image.JPEG"  # ImageNet has such a file
    Image.fromarray(noise(37, 53)).save(file, format="PNG")
    assert check_image(file).shown == (53, 37)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_size_is_that_after_exif_rotation_as_opencv_reads_it(
    tmp_path: Path, orientation: int
) -> None:
    file = tmp_path / "image.jpg"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(noise(37, 53)).save(file, exif=exif)
    height, width = cv2.imread(str(file)).shape[:2]
    assert check_image(file).shown == (width, height)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.9, 0.999])
def test_a_truncated_image_is_named(tmp_path: Path, suffix: str, kept: float) -> None:
    file = tmp_path / f"image{suffix}"
    cv2.imwrite(str(file), noise(64, 64))
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(DataError, match=f"{file} is truncated"):
        check_image(file)


def test_a_thumbnail_does_not_hide_that_its_image_is_truncated(tmp_path: Path) -> None:
    file = tmp_path / "image.jpg"
    Image.fromarray(noise(64, 64)).save(file, comment=b"\xff\xd8 a thumbnail's end: \xff\xd9")
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="truncated"):
        check_image(file)


@pytest.mark.parametrize("padding", [1, 63, 5000])
def test_padding_behind_a_jpeg_is_legal(tmp_path: Path, padding: int) -> None:
    file = tmp_path / "image.jpg"
    cv2.imwrite(str(file), noise(37, 53))
    file.write_bytes(file.read_bytes() + bytes(padding))
    assert check_image(file).shown == (53, 37)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "is empty"), (b"<html>404</html>", "is neither a JPEG nor a PNG")],
)
def test_what_is_no_image_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "image.jpg"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file} {message}"):
        check_image(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=f"{tmp_path / 'none.jpg'} is listed in the data and not there"
    ):
        check_image(tmp_path / "none.jpg")
