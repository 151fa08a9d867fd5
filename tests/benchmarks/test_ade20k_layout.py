"""ADE20K's pairs of images and index PNGs, as listed and as refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.ade20k_layout import list_split, stage_data
from benchmarks.dataset_files import Sample, StageData
from benchmarks.errors import DataError

Check = Callable[[StageData], tuple[str, ...]]
CLASSES = ("sky", "tree")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images of 8x6 pixels a split, with indices 0, 1, 2 and 255."""
    for split in ("training", "validation"):
        for part in ("images", "annotations"):
            (tmp_path / part / split).mkdir(parents=True)
        for name in ("b", "a"):
            Image.new("RGB", (8, 6)).save(tmp_path / "images" / split / f"{name}.jpg")
            annotate(tmp_path, split, name, [0, 1, 2, 255])
    return tmp_path


def annotate(root: Path, split: str, name: str, indices: list[int], mode: str = "L") -> None:
    pixels = np.resize(np.array(indices, np.uint8), (6, 8))
    image = Image.fromarray(pixels)
    if mode == "P":
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    elif mode != "L":
        image = image.convert(mode)
    image.save(root / "annotations" / split / f"{name}.png")


def test_pairs_are_sorted_by_name(root: Path) -> None:
    (root / "images" / "training" / "readme.txt").touch()
    assert list_split(root, "training") == (
        Sample(
            split="training", image="images/training/a.jpg", annotation="annotations/training/a.png"
        ),
        Sample(
            split="training", image="images/training/b.jpg", annotation="annotations/training/b.png"
        ),
    )
    files = stage_data(root, CLASSES).files
    assert (len(files.samples), len(files.annotations)) == (4, 4)


@pytest.mark.parametrize("mode", ["L", "P"])
def test_greyscale_and_palette_annotations_hold_indices(
    check: Check, root: Path, mode: str
) -> None:
    annotate(root, "training", "a", [0, 1, 2, 255], mode)
    assert check(stage_data(root, CLASSES)) == ()
    with pytest.raises(DataError, match=r"training/a\.png holds index 2, .* 1 classes"):
        check(stage_data(root, CLASSES[:1]))


def test_an_annotation_in_colors_is_refused(check: Check, root: Path) -> None:
    annotate(root, "training", "b", [0], "RGB")
    with pytest.raises(DataError, match=r"b\.png has mode RGB"):
        check(stage_data(root, CLASSES))


def test_an_annotation_of_another_size_is_named(check: Check, root: Path) -> None:
    Image.new("RGB", (6, 8)).save(root / "images" / "validation" / "a.jpg")
    with pytest.raises(DataError, match=r"validation/a\.png has 8x6 pixels, .* 6x8"):
        check(stage_data(root, CLASSES))


@pytest.mark.parametrize("file", ["images/training/a.jpg", "annotations/validation/b.png"])
def test_a_truncated_file_is_named(check: Check, root: Path, file: str) -> None:
    path = root / file
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(DataError, match=f"{file} is truncated"):
        check(stage_data(root, CLASSES))


def test_a_damaged_annotation_is_named(check: Check, root: Path) -> None:
    path = root / "annotations/training/a.png"
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT") + 4
    data[at : at + 6] = bytes(6)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"training/a\.png cannot be decoded"):
        check(stage_data(root, CLASSES))


def test_half_present_data_is_named(check: Check, root: Path) -> None:
    (root / "annotations/training/a.png").unlink()
    with pytest.raises(DataError, match=r"no annotation \S+/training/a\.png for \S+a\.jpg"):
        check(stage_data(root, CLASSES))
    (root / "images/training/a.jpg").unlink()
    (root / "images/validation/b.jpg").unlink()
    with pytest.raises(DataError, match=r"no image \S+/validation/b\.jpg for \S+b\.png"):
        check(stage_data(root, CLASSES))


def test_missing_folders_say_what_they_should_hold(
    check: Check, root: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"no folder \S+/none; .*images/training/\*\.jpg"):
        stage_data(tmp_path / "none", CLASSES)
    (root / "annotations" / "validation").rename(root / "elsewhere")
    with pytest.raises(DataError, match=r"no folder \S+/annotations/validation"):
        check(stage_data(root, CLASSES))
    for image in (root / "images" / "training").iterdir():
        image.unlink()
    with pytest.raises(DataError, match="images/training holds no images"):
        check(stage_data(root, CLASSES))
