"""Whatever stands in a file, our readers give a right answer or an error that names the file."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.errors import BenchmarkError, DataError
from benchmarks.image_files import MOST_PIXELS, read_header
from benchmarks.labelled_csv import read_csv
from benchmarks.pixels import read_indices, read_rgb
from benchmarks.schema import load_benchmark
from benchmarks.voc_layout import read_annotation, read_image_set

CLASSES = ("cat", "dog")
WRITTEN = """<?xml version="1.0" encoding="UTF-8"?>
<annotation><size><width>64</width><height>60</height></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>1.5</xmin><ymin>2</ymin>
<xmax>60</xmax><ymax>59</ymax></bndbox></object></annotation>"""
LISTED = (
    'path,label,split,group\na/1.png,cat,train,x\n"b, 2.png",d\u00f6g,test,y\n3.png,cat,val,z\n'
)
TOML = '[pretraining]\nroot = "$DATA/x"\nimage_size = 64\nresize_size = 72\nepoch_scale = 0.5\n'

FUZZ = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@cache
def images() -> tuple[bytes, ...]:
    """Real files: JPEG with and without EXIF, progressive, grey; PNG with and without palette."""
    rng = np.random.default_rng(0)
    color = Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = Image.fromarray(rng.integers(0, 3, (9, 12), np.uint8))
    palette.putpalette(rng.integers(0, 256, 768).tolist())
    made = []
    for image, options in (
        (color, dict(format="JPEG")),
        (color, dict(format="JPEG", exif=exif, progressive=True)),
        (color.convert("L"), dict(format="JPEG")),
        (color, dict(format="PNG", exif=exif)),
        (palette, dict(format="PNG")),
    ):
        file = io.BytesIO()
        image.save(file, **options)
        made.append(file.getvalue())
    return tuple(made)


@st.composite
def damaged(draw: st.DrawFn, originals: Callable[[], tuple[bytes, ...]]) -> bytes:
    """A real file with bytes changed, cut out, doubled, or cut off."""
    data = bytearray(draw(st.sampled_from(originals())))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        piece = draw(st.binary(max_size=6))
        how = draw(st.sampled_from(["change", "insert", "remove", "end"]))
        if how == "change":
            data[at : at + len(piece)] = piece
        elif how == "insert":
            data[at:at] = piece
        elif how == "remove":
            del data[at : at + 1 + len(piece)]
        else:
            del data[at:]
    return bytes(data)


def attempt(read: Callable[..., Any], *arguments: object) -> tuple[Any, str]:
    """What a reader gives, and what it says where it refuses."""
    try:
        return read(*arguments), ""
    except (DataError, BenchmarkError) as error:
        return None, str(error)


def check_header(data: bytes, folder: Path) -> None:
    header, said = attempt(read_header, Path("NAME.jpg"), io.BytesIO(data))
    if header is None:
        assert said.startswith("NAME.jpg ")
        return
    assert 0 < header.width * header.height <= MOST_PIXELS
    if header.width * header.height < 10**6:  # quick to decode: OpenCV as the oracle of the size
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
        assert decoded is None or decoded.shape[1::-1] == (header.width, header.height)


def check_pixels(data: bytes, folder: Path) -> None:
    file = folder / "image.jpg"
    file.write_bytes(data)
    for read in (read_rgb, read_indices):
        pixels, said = attempt(read, file)
        assert said.startswith(f"{file} ") if pixels is None else pixels.dtype == np.uint8


def check_annotation(data: bytes, folder: Path) -> None:
    file = folder / "Y/Annotations/a.xml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
    image, said = attempt(read_annotation, folder, "Y", "a", CLASSES)
    assert image is not None or str(file) in said
    for item in image.objects if image is not None else ():
        assert item.name in CLASSES
        assert 1 <= item.x1 < item.x2 <= image.width
        assert 1 <= item.y1 < item.y2 <= image.height


def check_list(data: bytes, folder: Path) -> None:
    for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (folder / "Y" / name).mkdir(parents=True, exist_ok=True)
    file = folder / "Y/ImageSets/Main/test.txt"
    file.write_bytes(data)
    ids, said = attempt(read_image_set, folder, "Y/test")
    assert ids is not None or said.startswith(str(file))
    for image_id in ids or ():
        path = folder / "Y/JPEGImages" / f"{image_id}.jpg"
        assert path.resolve().parent == (folder / "Y/JPEGImages").resolve()


def check_toml(data: bytes, folder: Path) -> None:
    file = folder / "mine.toml"
    file.write_bytes(data)
    benchmark, said = attempt(load_benchmark, file)
    assert benchmark is not None or str(file) in said


def check_csv(data: bytes, folder: Path) -> None:
    file = folder / "photos.csv"
    file.write_bytes(data)
    rows, said = attempt(read_csv, file)
    if rows is None:
        assert str(file) in said
        return
    # Every row is a line of the file: its label stands there.
    text = data.decode("utf-8-sig")
    assert all(row.label in text and row.split in ("train", "test") for row in rows)
    assert len({row.image for row in rows}) == len(rows) > 0


IMAGES = damaged(images)
XML = damaged(lambda: (WRITTEN.encode(), WRITTEN.encode("utf-16")))
LISTS = damaged(lambda: (b"a\nb\nc  1\n", "ä\n".encode())) | st.binary(max_size=40)
CSVS = damaged(lambda: (LISTED.encode(), LISTED.replace("\n", "\r\n").encode("utf-8-sig")))
TOMLS = damaged(lambda: (TOML.encode(),)) | st.text(max_size=60).map(lambda t: (TOML + t).encode())
CASES: dict[str, tuple[st.SearchStrategy[bytes], Callable[[bytes, Path], None]]] = {
    "image headers": (IMAGES, check_header),
    "images": (IMAGES, check_pixels),
    "annotations": (XML, check_annotation),
    "image sets": (LISTS, check_list),
    "labelled lists": (CSVS, check_csv),
    "benchmark files": (TOMLS, check_toml),
}


@pytest.mark.reliability(6, "A mutated image, annotation, list or benchmark: right, or named")
@pytest.mark.parametrize("kind", CASES)
@FUZZ
@given(data=st.data())
def test_mutated_files(kind: str, data: st.DataObject, tmp_path: Path) -> None:
    strategy, check = CASES[kind]
    check(data.draw(strategy), tmp_path)


@pytest.mark.slow
@pytest.mark.reliability(6, "3,000 mutated files of each kind: right, or named")
@pytest.mark.parametrize("kind", CASES)
def test_many_mutated_files(kind: str, tmp_path: Path, measured: Callable[[str], None]) -> None:
    strategy, check = CASES[kind]
    tried = 0

    @settings(FUZZ, max_examples=3000)
    @given(content=strategy)
    def run(content: bytes) -> None:
        nonlocal tried
        tried += 1
        check(content, tmp_path)

    run()
    measured(f"{tried:,} {kind}")


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "[" * 100_000,
        "x = " + "9" * 10_000,
        "x = " * 2**19,
        '[pretraining]\nroot = "~nobody-of-this-name/x"\n',
        '[pretraining]\nroot = "a\\u0000b"\n',
    ],
)
def test_a_benchmark_file_out_of_bounds_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(BenchmarkError, match=str(file)):
        load_benchmark(file)


@pytest.mark.parametrize("length", [0, 1, 65535])
def test_a_jpeg_of_endless_or_empty_segments_ends(length: int) -> None:
    data = b"\xff\xd8" + (b"\xff\xe0" + struct.pack(">H", length) + bytes(max(0, length - 2))) * 700
    with pytest.raises(DataError, match=r"^NAME\.jpg "):
        read_header(Path("NAME.jpg"), io.BytesIO(data))
