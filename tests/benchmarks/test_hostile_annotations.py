"""Lists and annotations that name what they should not, or unfold to what they should not."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks import voc_layout
from benchmarks.errors import DataError
from benchmarks.voc_layout import read_annotation, read_image_set

CLASSES = ("blue", "green", "red")
YEAR = "VOC2007"

LAUGHS = (
    '<!DOCTYPE a [<!ENTITY e0 "ha">'
    + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    + "]>\n"
)
EXTERNAL = '<!DOCTYPE a [<!ENTITY e0 SYSTEM "file:///etc/passwd">]>\n'
PLAIN = "<!DOCTYPE annotation>\n"


@pytest.fixture
def root(make_benchmark: Callable[..., Path], tmp_path: Path) -> Path:
    make_benchmark(tmp_path)
    return tmp_path / "VOCdevkit"


def xml(size: str, *objects: str) -> str:
    return f"<annotation>{size}{''.join(objects)}</annotation>"


def box(x1: object, y1: object, x2: object, y2: object, name: str = "red") -> str:
    return (
        f"<object><name>{name}</name><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>"
    )


SIZE = "<size><width>64</width><height>60</height></size>"
BAD = {
    "entities": (LAUGHS + xml(SIZE, box(1, 1, 9, 9, "&e9;")), "document type"),
    "external entity": (EXTERNAL + xml(SIZE, box(1, 1, 9, 9, "&e0;")), "document type"),
    "plain document type": (PLAIN + xml(SIZE, box(1, 1, 9, 9)), "document type"),
    "no size": (xml("", box(1, 1, 9, 9)), "has no <size/width>"),
    "endless size": (xml(SIZE.replace("64", "inf"), box(1, 1, 9, 9)), "should be a number"),
    "size that is none": (xml(SIZE.replace("64", "nan"), box(1, 1, 9, 9)), "should be a number"),
    "NaN corner": (xml(SIZE, box("nan", 1, 9, 9)), "should be a number, got 'nan'"),
    "all NaN": (xml(SIZE, box(*["NaN"] * 4)), "should be a number"),
    "infinite corner": (xml(SIZE, box(1, 1, "1e999", 9)), "should be a number"),
    "inverted": (xml(SIZE, box(9, 9, 5, 5)), "is inverted"),
    "inverted in one side": (xml(SIZE, box(9, 1, 5, 5)), "is inverted"),
    "outside": (xml(SIZE, box(1, 1, 65, 9)), "is outside its image"),
    "unknown class": (xml(SIZE, box(1, 1, 9, 9, "cat")), "does not name"),
    "no XML": ("not found", "is not XML"),
    "half": (xml(SIZE, box(1, 1, 9, 9))[:-20], "is not XML"),
    "unknown encoding": ('<?xml version="1.0" encoding="x-none"?><annotation/>', "is not XML"),
    "endless": (" " * 2**20 + xml(SIZE), "bytes, and at most 1,048,576"),
}


@pytest.mark.reliability(
    6, "A VOC annotation with entities, NaN, inverted or foreign boxes is named"
)
@pytest.mark.parametrize("kind", BAD)
def test_a_hostile_annotation_is_refused_by_name(root: Path, kind: str) -> None:
    text, message = BAD[kind]
    file = root / YEAR / "Annotations" / "test0.xml"
    file.write_text(text)
    start = time.perf_counter()
    with pytest.raises(DataError, match=message) as caught:
        read_annotation(root, YEAR, "test0", CLASSES)
    assert str(file) in str(caught.value)
    assert time.perf_counter() - start < 2


def test_the_image_is_that_of_the_list_whatever_the_annotation_calls_it(root: Path) -> None:
    file = root / YEAR / "Annotations" / "test0.xml"
    where = "<filename>../../../etc/passwd</filename><path>/etc/passwd</path>"
    file.write_text(file.read_text().replace("<size>", f"{where}<size>"))
    image = read_annotation(root, YEAR, "test0", CLASSES)
    assert image.image == f"{YEAR}/JPEGImages/test0.jpg"


@pytest.mark.reliability(6, "An image id that leads out of the data set is refused")
@pytest.mark.parametrize(
    "image_id", ["../../../etc/passwd", "/etc/passwd", "..", "a/b", "a\\b", "a\x00b", "a\x1bb"]
)
def test_an_image_id_that_is_no_file_name_is_refused(root: Path, image_id: str) -> None:
    file = root / YEAR / "ImageSets/Main/test.txt"
    file.write_text(f"test0\n{image_id}\n")
    with pytest.raises(DataError, match=f"^{file} ") as caught:
        read_image_set(root, f"{YEAR}/test")
    assert "\x1b" not in str(caught.value)


def test_a_list_that_is_no_text_is_refused(root: Path) -> None:
    file = root / YEAR / "ImageSets/Main/test.txt"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=f"^{file} is no UTF-8 text"):
        read_image_set(root, f"{YEAR}/test")


def test_an_annotation_of_a_gigabyte_is_not_read(root: Path) -> None:
    file = root / YEAR / "Annotations" / "test0.xml"
    with file.open("r+b") as opened:
        opened.truncate(2**30)
    start = time.perf_counter()
    with pytest.raises(DataError, match="1,073,741,824 bytes"):
        read_annotation(root, YEAR, "test0", CLASSES)
    assert time.perf_counter() - start < 1


def test_all_bad_files_are_named_up_to_ten(root: Path, check: Callable[..., object]) -> None:
    for number in range(10):
        (root / YEAR / "Annotations" / f"trainval{number}.xml").write_text("broken")
    (root / YEAR / "JPEGImages" / "test0.jpg").unlink()
    (root / YEAR / "JPEGImages" / "test1.jpg").write_bytes(b"")
    data = voc_layout.stage_data(root, [f"{YEAR}/trainval", f"{YEAR}/test"], CLASSES)
    with pytest.raises(DataError) as caught:
        check(data)
    lines = str(caught.value).splitlines()
    assert len(lines) == 11
    assert all(f"trainval{n}.xml is not XML" in line for n, line in enumerate(lines[:10]))
    assert lines[10] == "and 2 more"
