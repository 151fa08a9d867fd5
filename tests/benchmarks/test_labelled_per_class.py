"""So many images of each class count as labelled; the others come without their labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from benchmarks.labelled_images import read_labelled
from benchmarks.labelled_stage import stage_data
from benchmarks.schema import FineTuneBudget
from benchmarks.unlabelled_images import find_unlabelled


@pytest.fixture
def root(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "data"


def labelled(root: Path, **more: Any) -> list[tuple[Path, int]]:
    images = read_labelled(FineTuneBudget(root=root, **more), "train")
    assert images is not None
    assert images.classes == ("cat", "dog")
    return list(images.samples)


def test_the_parts_are_all_training_images_and_follow_from_their_names(root: Path) -> None:
    every, few = labelled(root), labelled(root, labelled_per_class=2)
    assert [label for _, label in few] == [0, 0, 1, 1]
    rest = find_unlabelled(FineTuneBudget(root=root, labelled_per_class=2)).paths
    assert {path for path, _ in few} | set(rest) == {path for path, _ in every}
    assert len(rest) == 8
    # More labels keep those that there were, so that runs of both can be compared.
    assert set(few) < set(labelled(root, labelled_per_class=3))
    assert labelled(root, labelled_per_class=6) == every
    tests = read_labelled(FineTuneBudget(root=root, labelled_per_class=2), "test")
    assert tests is not None
    assert len(tests.samples) == 4


def test_elsewhere_the_same_images_are_drawn(root: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(root, moved)
    for folder in (root, moved):
        assert [path.relative_to(folder) for path, _ in labelled(folder, labelled_per_class=2)] == [
            path.relative_to(root) for path, _ in labelled(root, labelled_per_class=2)
        ]


def test_a_copy_of_a_test_or_labelled_image_is_left_out_and_counted(
    root: Path, tmp_path: Path
) -> None:
    budget = FineTuneBudget(root=root, labelled_per_class=2)
    few = labelled(root, labelled_per_class=2)
    first, second, third, *_ = find_unlabelled(budget).paths
    shutil.copy(root / "val/dog/1.png", first)  # a test image among the training images
    shutil.copy(few[0][0], second)
    extra = tmp_path / "more"
    extra.mkdir()
    shutil.copy(third, extra / "known.png")  # comes once, as a training image
    Image.new("RGB", (8, 8)).save(extra / "new.png")
    found = find_unlabelled(budget.model_copy(update={"unlabelled": extra}))
    assert not {first, second} & set(found.paths)
    assert found.paths.count(third) == 1
    assert extra / "known.png" not in found.paths
    assert found.paths[-1] == extra / "new.png"
    assert found.notes()[0].startswith("1 of the unlabelled images are test images")


def test_the_check_of_the_data_depends_on_it_only_where_it_is_set(root: Path) -> None:
    plain = stage_data(FineTuneBudget(root=root))
    few = stage_data(FineTuneBudget(root=root, labelled_per_class=2))
    assert plain.question == [str(root)]
    assert few.question != plain.question
    with pytest.raises(ValidationError, match="labelled_per_class"):
        FineTuneBudget(root=root, labelled_per_class=0)
