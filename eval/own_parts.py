"""One's own images in those to learn from and test images: as they lie there, or set aside now."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.errors import DataError
from benchmarks.labelled_files import LAYOUTS
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.schema import FineTuneBudget
from eval.own_data import plain_image

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

BENCHMARK = "benchmark.toml"
IMAGES = "images.csv"
TEST_SHARE = 0.2
DIVISION_SEED = 0
_SHOWN = 5


def read_parts(root: Path) -> tuple[LabelledImages, LabelledImages | None]:
    """Those to learn from, and the test images where there are any. Raises DataError."""
    budget = FineTuneBudget(root=root)
    train = read_labelled(budget, "train")
    assert train is not None, "without training images it raises"
    return train, read_labelled(budget, "test")


def divided(
    data: Path,
) -> tuple[Path | None, LabelledImages, LabelledImages | None, list[str]]:
    """The root of what is divided already (None: has to be written down), both splits, and what
    there is to say of it. Raises DataError for images that cannot be divided."""
    if not data.exists():
        raise DataError(f"nothing is at {data}: give a folder that holds {LAYOUTS}, or a CSV file")
    if (data / "train").is_dir() and (data / "test").is_dir():
        return (None, *_of_three_folders(data))
    train, test = read_parts(data)
    if test is not None:
        return data, train, test, []
    train, test = _set_aside(data, _with_plain_paths(train))
    how = "of each class the same share"
    if train.groups is not None:
        how = "of each class about the same share, groups kept whole"
    said = f"The test images were set aside now, {how}: {IMAGES} says which"
    return None, train, test, [said]


def _of_three_folders(data: Path) -> tuple[LabelledImages, LabelledImages, list[str]]:
    """train/ and test/, and perhaps val/, whose images join those to learn from: the images to
    validate on are taken out of these."""
    names = [name for name in ("train", "val") if (data / name).is_dir()]
    parts = [(name, read_parts(data / name)[0]) for name in (*names, "test")]
    classes = tuple(sorted({name for _, part in parts for name in part.classes}))
    learnt = _joined([part for name, part in parts if name != "test"], classes)
    counts = Counter(label for _, label in learnt.samples)
    if lost := [name for label, name in enumerate(classes) if not counts[label]]:
        raise DataError(
            f"{data}: no training image of {first_few(lost)}, of which there are test images; "
            "every class needs images to learn from"
        )
    said = ["val/ joins train/: what is validated on is taken out of both"] * ("val" in names)
    return learnt, _joined([parts[-1][1]], classes), said


def _joined(parts: Sequence[LabelledImages], classes: tuple[str, ...]) -> LabelledImages:
    place = {name: label for label, name in enumerate(classes)}
    samples = [(path, place[part.classes[at]]) for part in parts for path, at in part.samples]
    return LabelledImages(classes=classes, samples=samples, groups=None)


def _with_plain_paths(images: LabelledImages) -> LabelledImages:
    samples = [(plain_image(path), label) for path, label in images.samples]
    return replace(images, samples=samples)


def whole(data: Path) -> tuple[Path, LabelledImages, LabelledImages | None, list[str]]:
    """As `divided`, but without setting anything aside."""
    if (data / "train").is_dir() and (data / "test").is_dir():
        return (data, *_of_three_folders(data))
    if not data.exists():
        raise DataError(f"nothing is at {data}: give the folder of images that {BENCHMARK} is of")
    return (data, *read_parts(data), [])


def _set_aside(data: Path, images: LabelledImages) -> tuple[LabelledImages, LabelledImages]:
    """A stratified fifth as test images, always the same one; groups stay whole."""
    from classification.splits import make_folds

    counts = Counter(label for _, label in images.samples)
    few = [name for label, name in enumerate(images.classes) if counts[label] < 3]
    if few and images.groups is None:
        raise DataError(
            f"{data}: fewer than 3 images of {first_few(few)}: a class needs one to learn from, "
            "one to validate on and one to test; add images, or leave the class out"
        )
    try:
        (fold,) = make_folds(
            [label for _, label in images.samples],
            images.groups,
            validation="holdout",
            folds=2,
            share=held_out_share(images, TEST_SHARE),
            seed=DIVISION_SEED,
            classes=images.classes,
        )
    except ValueError as error:
        raise DataError(
            f"{data}: no test images could be set aside ({error}). Or say which they are: by "
            "folders train and test, or by the column split of a CSV file"
        ) from error
    return only(images, fold.fit), only(images, fold.validation)


def only(images: LabelledImages, places: Sequence[int] | npt.NDArray[np.intp]) -> LabelledImages:
    """The images at these places, and their groups."""
    chosen = [int(place) for place in places]
    groups = None if images.groups is None else tuple(images.groups[i] for i in chosen)
    return replace(images, samples=[images.samples[i] for i in chosen], groups=groups)


def held_out_share(images: LabelledImages, least: float = 0.2) -> float:
    """Of a hold-out in which every class has an image."""
    fewest = min(Counter(label for _, label in images.samples).values())
    return min(0.5, max(least, math.ceil(100 / fewest) / 100))


def first_few(names: Sequence[str]) -> str:
    """The first of the names, and how many more there are."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
