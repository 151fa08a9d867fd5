"""Images without a label that `[finetune]` of a benchmark lets a recipe learn from."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dataset_files import DatasetFiles, Sample, require_plain_names
from benchmarks.digest import dataset_digest
from benchmarks.errors import DataError
from benchmarks.image_files import IMAGE_SUFFIXES, check_image
from benchmarks.known_images import KnownImages
from benchmarks.labelled_files import divided, images_below, listed_files, of_other_formats
from benchmarks.schema import FineTuneBudget


@dataclass(frozen=True, kw_only=True)
class UnlabelledImages:
    """paths: sorted, what may be learnt from. labelled, tests: how many more there are that are
    among the labelled training images, or among the test images, by path or by content, and are
    left out. unusable: how many cannot be read."""

    paths: tuple[Path, ...]
    labelled: int = 0
    tests: int = 0
    unusable: int = 0

    def notes(self) -> tuple[str, ...]:
        """What a reader of the numbers should know, a sentence each."""
        found = {
            "are test images": self.tests,
            "are labelled training images": self.labelled,
            "cannot be read": self.unusable,
        }
        return tuple(
            f"{count:,} of the unlabelled images {what}: left out"
            for what, count in found.items()
            if count
        )


def read_unlabelled(budget: FineTuneBudget) -> tuple[Path, ...]:
    """The images without a label that may be learnt from; see `find_unlabelled`."""
    return find_unlabelled(budget).paths


def find_unlabelled(budget: FineTuneBudget) -> UnlabelledImages:
    """The training images that do not count as labelled, and the images below `unlabelled`; without
    those that are labelled or test images already.

    An image is one of them by its path, through links too, or by its content: sha256, of those
    files alone whose size is that of a labelled one. Raises DataError: no such folder, or nothing
    is left in it.
    """
    images, problem = look_for_unlabelled(budget)
    if problem:
        raise DataError(
            f"{problem}; let `unlabelled` of [finetune] name a folder of images without labels, or "
            "leave it out"
        )
    return images


def look_for_unlabelled(budget: FineTuneBudget) -> tuple[UnlabelledImages, str]:
    """As `find_unlabelled`, and what is wrong where nothing is left in the folder, else nothing."""
    if budget.unlabelled is None and budget.labelled_per_class is None:
        return UnlabelledImages(paths=()), ""
    require_unlabelled(budget)
    files = listed_files(budget)
    counted, others = divided(budget, files)
    hidden: list[Path] = []
    count: Counter[str] = Counter()
    of_labelled = KnownImages(budget.folder, counted)
    for path in sorted(budget.folder / file.image for file in others):
        if (split := of_labelled.split_of(path)) is None:
            hidden.append(path)
        else:
            count[split] += 1
    folder = budget.unlabelled
    if folder is None:
        images = UnlabelledImages(paths=tuple(hidden), labelled=count["train"], tests=count["test"])
        return images, ""
    # Of all of them: what is hidden among the training images is not to come a second time.
    known = KnownImages(budget.folder, files)
    kept: list[Path] = []
    for path in (folder / name for name in _unlabelled_names(folder)):
        split = known.split_of(path)
        if split is None and not _is_usable(path):
            count["unusable"] += 1
        elif split is None:
            kept.append(path)
        else:
            count[split] += 1
    images = UnlabelledImages(
        paths=(*hidden, *kept),
        labelled=count["train"],
        tests=count["test"],
        unusable=count["unusable"],
    )
    if kept:
        return images, ""
    whys = (*images.notes(), of_other_formats(folder))
    why = ", ".join(filter(None, whys)) or f"no file there ends in {', '.join(IMAGE_SUFFIXES)}"
    return images, f"{folder} holds no unlabelled image ({why})"


def unlabelled_digest(budget: FineTuneBudget) -> str:
    """As `dataset_digest`, of the images below `unlabelled` that may be learnt from."""
    folder = budget.unlabelled
    if folder is None:
        raise ValueError("this benchmark names no unlabelled images: add unlabelled to [finetune]")
    paths = read_unlabelled(budget.model_copy(update={"labelled_per_class": None}))
    images = (path.relative_to(folder).as_posix() for path in paths)
    samples = tuple(Sample(split="unlabelled", image=image) for image in images)
    return dataset_digest(DatasetFiles(root=folder, samples=samples))


def unlabelled_state(budget: FineTuneBudget) -> str:
    """Changes whenever a file below `unlabelled` does; empty where there is none."""
    require_unlabelled(budget)
    return " ".join(unlabelled_facts(budget))


def require_unlabelled(budget: FineTuneBudget) -> None:
    """DataError where `unlabelled` names a folder that is not there."""
    if budget.unlabelled is not None and not budget.unlabelled.is_dir():
        raise DataError(
            f"no folder {budget.unlabelled}; `unlabelled` of [finetune] should name a folder of "
            "images without labels, or be left out"
        )


def unlabelled_facts(budget: FineTuneBudget) -> list[str]:
    """What the warnings about unlabelled images depend on: their folder and what lies in it now."""
    if budget.unlabelled is None:
        return []
    images = (Sample(split="", image=image) for image in _unlabelled_names(budget.unlabelled))
    files = DatasetFiles(root=budget.unlabelled, samples=tuple(images))
    return [str(budget.unlabelled), files.fingerprint()]


def _unlabelled_names(folder: Path) -> list[str]:
    """Paths below the folder, sorted."""
    names = sorted(path.relative_to(folder).as_posix() for path in images_below(folder))
    require_plain_names(names, folder)
    return names


def _is_usable(path: Path) -> bool:
    try:
        check_image(path)
    except DataError:
        return False
    return True
