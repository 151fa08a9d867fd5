"""A part of an image is what the whole image holds there, bit for bit, or the same refusal."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks import jpeg_region, pixels
from benchmarks.errors import DataError
from benchmarks.jpeg_region import decode_region
from benchmarks.pixels import EncodedImage
from engine.fast_paths import VARIABLE

SAMPLINGS = {
    "4:4:4": 0x111111,
    "4:2:2": 0x211111,
    "4:2:0": 0x221111,
    "4:4:0": 0x121111,
    "4:1:1": 0x411111,
}
here = pytest.mark.skipif(jpeg_region._library() is None, reason="no wheel of turbojpeg here")


def encoded(
    height: int, width: int, sampling: str, *, progressive: int = 0, restart: int = 0, seed: int = 0
) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    options = [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive, cv2.IMWRITE_JPEG_RST_INTERVAL, restart]
    if sampling == "grey":
        pixels = pixels[:, :, 0]
    else:
        options += [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLINGS[sampling]]
    return cv2.imencode(".jpg", pixels, options)[1].tobytes()


def whole(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)


@st.composite
def boxes(draw: st.DrawFn) -> tuple[int, int, int, int, int, int]:
    """Height and width of an image, then top, left, height and width of a part of it."""
    height, width = draw(st.integers(1, 70)), draw(st.integers(1, 90))
    top, left = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
    part = draw(st.integers(1, height - top)), draw(st.integers(1, width - left))
    return height, width, top, left, *part


@here
@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("sampling", [*SAMPLINGS, "grey"])
@settings(max_examples=30, deadline=None)
@given(box=boxes(), restart=st.sampled_from([0, 1, 3]), seed=st.integers(0, 9))
def test_a_region_has_the_pixels_of_the_whole(
    sampling: str, progressive: int, box: tuple[int, ...], restart: int, seed: int
) -> None:
    height, width, top, left, h, w = box
    data = encoded(height, width, sampling, progressive=progressive, restart=restart, seed=seed)
    found = decode_region(data, top=top, left=left, height=h, width=w, shape=(height, width))
    assert found is not None
    assert np.array_equal(found, whole(data)[top : top + h, left : left + w])


@here
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_damage_gives_the_pixels_of_the_whole_or_nothing(data: st.DataObject) -> None:
    damaged = bytearray(encoded(40, 56, data.draw(st.sampled_from([*SAMPLINGS, "grey"]))))
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(2, len(damaged) - 3))] = data.draw(st.integers(0, 255))
    expected = whole(bytes(damaged))
    found = decode_region(bytes(damaged), top=9, left=17, height=12, width=20, shape=(40, 56))
    if found is not None and expected is not None:
        assert np.array_equal(found, expected[9:21, 17:37])


@here
def test_a_damaged_file_before_it_changes_nothing() -> None:
    good, bad = encoded(40, 56, "4:2:0"), bytearray(encoded(40, 56, "4:1:1", seed=1))
    for at in range(200, len(bad) - 2, 7):
        bad[at] ^= 0x55
        decode_region(bytes(bad), top=0, left=0, height=40, width=56, shape=(40, 56))
        found = decode_region(good, top=3, left=5, height=20, width=30, shape=(40, 56))
        assert np.array_equal(found, whole(good)[3:23, 5:35])


@pytest.mark.parametrize("orientation", [1, 3, 6, 7])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_crop_is_of_the_image_as_shown(tmp_path: Path, kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    noise = np.random.default_rng(0).integers(0, 256, (30, 44, 3), np.uint8)
    file = tmp_path / "image.jpg"
    Image.fromarray(noise).save(file, format=kind, exif=exif)
    image = EncodedImage.read(file)
    assert image.shape == image.whole().shape
    assert np.array_equal(image.crop(7, 5, 11, 13), image.whole()[7:18, 5:18])


def test_a_cmyk_crop_is_that_of_the_whole(tmp_path: Path) -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (30, 44, 4), np.uint8)
    Image.fromarray(noise, mode="CMYK").save(file, format="JPEG")
    image = EncodedImage(tmp_path / "image.jpg", file.getvalue())
    assert np.array_equal(image.crop(7, 5, 11, 13), image.whole()[7:18, 5:18])


@pytest.mark.parametrize("how", ["switched off", "no wheel"])
def test_without_the_fast_path_the_whole_is_decoded(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "no wheel":
        monkeypatch.setattr(jpeg_region, "_library", lambda: None)
    else:
        monkeypatch.setenv(VARIABLE, "jpeg_region")
        monkeypatch.setattr(pixels, "decode_region", lambda *_, **__: pytest.fail("called"))
    data = encoded(40, 56, "4:2:0")
    found = EncodedImage(Path("image.jpg"), data).crop(9, 17, 12, 20)
    assert np.array_equal(found, whole(data)[9:21, 17:37])


def test_what_cannot_be_decoded_is_refused_by_name() -> None:
    data = bytearray(encoded(40, 56, "4:2:0"))
    tables = data.index(b"\xff\xc4")
    del data[tables : data.index(b"\xff\xda")]  # no Huffman tables
    data[-40:-2] = bytes(38)
    image = EncodedImage(Path("NAME.jpg"), bytes(data))
    refused = whole(bytes(data)) is None
    if refused:
        with pytest.raises(DataError, match=r"^NAME\.jpg cannot be decoded"):
            image.crop(9, 17, 12, 20)
    else:  # libraries that have default tables
        assert image.crop(9, 17, 12, 20).shape == (12, 20, 3)
