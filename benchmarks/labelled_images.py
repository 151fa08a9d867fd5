"""One's own labelled images as a training reads them: what `[finetune]` of a benchmark names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.labelled_csv import LabelledFile, Split
from benchmarks.labelled_files import classes_of, divided, listed_files
from benchmarks.schema import FineTuneBudget


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """One split. classes: sorted, the same for both splits. samples: (path, label), a label being a
    position in `classes`. groups: of each sample; None where the data has none."""

    classes: tuple[str, ...]
    samples: Sequence[tuple[Path, int]]
    groups: tuple[str, ...] | None


def read_labelled(budget: FineTuneBudget, split: Split) -> LabelledImages | None:
    """The images of a split, sorted by class and path; None where there are no test images.

    What is left out of the budget is left out here, and of the training images those that do not
    count as labelled. Raises DataError as `stage_data` does.
    """
    files = listed_files(budget)
    labels = {name: label for label, name in enumerate(classes_of(files))}
    folder = budget.folder
    chosen = [f for f in divided(budget, files)[0] if f.split == split]
    if split == "test" and not chosen:
        return None
    return LabelledImages(
        classes=tuple(labels),
        samples=tuple((folder / f.image, labels[f.label]) for f in chosen),
        groups=_groups(chosen),
    )


def _groups(files: Iterable[LabelledFile]) -> tuple[str, ...] | None:
    groups = tuple(file.group for file in files if file.group is not None)
    return groups or None  # a column has a value in every row
