"""The digest follows from what is learnt and scored, not from where or when it was written."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.dataset_files import DatasetFiles, Sample
from benchmarks.digest import dataset_digest
from benchmarks.errors import DataError

IMAGE = Sample(split="train", image="image.jpg")


@pytest.fixture
def files(tmp_path: Path) -> DatasetFiles:
    root = tmp_path / "data"
    root.mkdir()
    (root / "image.jpg").write_bytes(b"pixels")
    (root / "list.txt").write_bytes(b"image")
    return DatasetFiles(root=root, samples=(IMAGE,), lists=("list.txt",))


def test_independent_of_place_time_and_order(files: DatasetFiles, tmp_path: Path) -> None:
    before = dataset_digest(files)
    shutil.copytree(files.root, tmp_path / "copy")
    os.utime(tmp_path / "copy" / "list.txt", (1, 1))
    (tmp_path / "copy" / "unused.txt").touch()
    copy = replace(files, root=tmp_path / "copy", samples=(IMAGE, IMAGE))
    assert dataset_digest(copy) == before


def test_changes_with_an_annotations_content_and_an_images_size(files: DatasetFiles) -> None:
    digests = {dataset_digest(files)}
    (files.root / "list.txt").write_bytes(b"egami")  # the same size
    digests.add(dataset_digest(files))
    (files.root / "image.jpg").write_bytes(b"more pixels")
    digests.add(dataset_digest(files))
    assert len(digests) == 3
    assert all(len(digest) == 64 for digest in digests)


def test_the_fingerprint_changes_with_size_or_time(files: DatasetFiles) -> None:
    prints = {files.fingerprint()}
    assert prints == {files.fingerprint()}
    os.utime(files.root / "image.jpg", (1, 1))
    prints.add(files.fingerprint())
    (files.root / "image.jpg").write_bytes(b"more pixels")
    os.utime(files.root / "image.jpg", (1, 1))
    prints.add(files.fingerprint())
    assert len(prints) == 3


def test_a_missing_file_is_named(files: DatasetFiles) -> None:
    (files.root / "image.jpg").unlink()
    with pytest.raises(DataError, match=r"image\.jpg is listed in the data and not there"):
        dataset_digest(files)
