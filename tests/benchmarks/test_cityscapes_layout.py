"""Cityscapes' pairs of images and label ids, as listed and as refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.cityscapes_labels import LABEL_IDS
from benchmarks.cityscapes_layout import list_split, meaning, stage_data
from benchmarks.dataset_files import StageData
from benchmarks.errors import DataError
from benchmarks.schema import load_benchmark

Check = Callable[[StageData], tuple[str, ...]]
CLASSES = ("road", "car")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two cities to learn and one to test, an image of 8x6 pixels in each."""
    for split, city in (("train", "ulm"), ("train", "aachen"), ("val", "lindau")):
        for part in ("leftImg8bit", "gtFine"):
            (tmp_path / part / split / city).mkdir(parents=True)
        name = f"{city}_000000_000019"
        Image.new("RGB", (8, 6)).save(
            tmp_path / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
        )
        annotate(tmp_path, split, city, [0, 1, 7, 26, 33, 255])
        for other in ("color.png", "instanceIds.png", "polygons.json"):
            (tmp_path / "gtFine" / split / city / f"{name}_gtFine_{other}").touch()
    return tmp_path


def annotate(root: Path, split: str, city: str, ids: list[int]) -> None:
    pixels = np.resize(np.array(ids, np.uint8), (6, 8))
    file = root / "gtFine" / split / city / f"{city}_000000_000019_gtFine_labelIds.png"
    Image.fromarray(pixels).save(file)


def test_the_ids_are_those_of_cityscapes() -> None:
    """torchvision has the table of cityscapesScripts, too; to import it takes seconds."""
    package = find_spec("torchvision")
    assert package is not None
    assert package.submodule_search_locations
    source = Path(package.submodule_search_locations[0], "datasets", "cityscapes.py").read_text()
    rows = re.findall(r'CityscapesClass\("([^"]+)", (-?\d+), (-?\d+),', source)
    assert {name: int(number) for name, number, _ in rows if int(number) >= 0} == LABEL_IDS
    budget = load_benchmark("cityscapes").segmentation
    assert budget is not None
    scored = sorted((int(place), name) for name, _, place in rows if 0 <= int(place) < 255)
    assert budget.classes == tuple(name for _, name in scored)


def test_what_is_not_scored_is_other() -> None:
    values = meaning(CLASSES)
    assert len(values) == 256
    assert {value: number for value, number in enumerate(values) if number > 0} == {7: 1, 26: 2}
    assert {value for value, number in enumerate(values) if number == 0} == (
        {*range(34), 255} - {7, 26}
    )


def test_pairs_of_all_cities_are_listed(check: Check, root: Path) -> None:
    first, second = list_split(root, "train")
    assert first.image == "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png"
    assert first.annotation == "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    assert "/ulm/" in second.image
    found = stage_data(root, CLASSES)
    assert len(found.files.samples) == 3
    assert check(found) == ()
    assert found.inspect(found.files.samples[0]).counts == {"road": 8, "car": 8}  # of 48, a sixth


def test_an_unknown_id_is_refused(check: Check, root: Path) -> None:
    annotate(root, "val", "lindau", [7, 34])
    with pytest.raises(DataError, match=r"labelIds\.png holds index 34, .* 0\.\.33 and 255"):
        check(stage_data(root, CLASSES))


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png", "no image .*ulm"),
        ("gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png", "no annotation .*lindau"),
        ("gtFine/train/aachen", "no annotation .*aachen"),
        ("gtFine/val", "no folder .*gtFine/val"),
    ],
)
def test_what_is_missing_is_named(check: Check, root: Path, gone: str, said: str) -> None:
    (root / gone).rename(root / "elsewhere")
    with pytest.raises(DataError, match=said):
        check(stage_data(root, CLASSES))


def test_a_split_without_any_class_is_refused(check: Check, root: Path) -> None:
    annotate(root, "val", "lindau", [0, 33])
    with pytest.raises(DataError, match=r"annotations of .*gtFine/val hold no class"):
        check(stage_data(root, CLASSES))
