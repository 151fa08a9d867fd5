"""ImageNet's folders: labels are positions of sorted class folders, and both splits agree."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.errors import DataError
from benchmarks.imagenet_layout import read_index, stage_data


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for split in ("train", "val"):
        for name, files in (("cat", ["b.JPEG", "a.jpg"]), ("bee", ["c.png"])):
            folder = tmp_path / split / name
            folder.mkdir(parents=True)
            for file in files:
                (folder / file).touch()
    return tmp_path


def test_classes_and_samples_are_sorted(root: Path) -> None:
    (root / "train" / "cat" / "notes.txt").touch()
    (root / "train" / "cat" / ".hidden.jpg").touch()
    index = read_index(root, "train")
    assert index.classes == ("bee", "cat")
    train = root / "train"
    assert list(index.samples) == [
        (train / "bee" / "c.png", 0),
        (train / "cat" / "a.jpg", 1),
        (train / "cat" / "b.JPEG", 1),
    ]


def test_files_of_both_splits(root: Path) -> None:
    files = stage_data(root).files
    assert len(files.samples) == 6
    assert not files.annotations
    assert all((root / sample.image).is_file() for sample in files.samples)


def remove_split(root: Path) -> None:
    (root / "val").rename(root / "somewhere_else")


def add_class(root: Path) -> None:
    (root / "val" / "dog").mkdir()
    (root / "val" / "dog" / "d.jpg").touch()


def drop_class(root: Path) -> None:
    (root / "val" / "bee").rename(root / "bee")


def add_empty_class(root: Path) -> None:
    (root / "train" / "eel").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (remove_split, r"no folder \S+/val; it should hold one folder of images per class"),
        (add_class, r"val/dog is a class that \S+/train does not have"),
        (drop_class, r"val has 1 class folder, at least 2"),
        (add_empty_class, r"train/eel holds no images"),
    ],
)
def test_half_present_data_is_named(
    root: Path, damage: Callable[[Path], None], message: str
) -> None:
    damage(root)
    with pytest.raises(DataError, match=message):
        stage_data(root)


def test_a_missing_root_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder \S+/none; .*train/<class>/\*.JPEG"):
        read_index(tmp_path / "none", "train")
