"""How each class of a task differs from the row that it is compared with: the best few rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from engine.evidence import Evidence
from eval.image_bootstrap import DRAWS, FEWEST_DRAWS, ByImage, compare, resample_classes, weights
from eval.records import Record, TaskName
from eval.sections.by_backbone import Measured, best_first, mean
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    common,
    difference_cell,
    how_measured,
    judged,
    references,
)
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, number

T = TypeVar("T")

_MOST_COLUMNS = 8
_MOST_CLASSES = 200
_MOST_DRAWN = 1_500_000  # images, of the draws of one record

PerClass = Mapping[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Compared:
    """The best rows that share a reference, the best first, and the records of them which must be
    drawn by image, since one seed alone is common: their keys. of: how many share it."""

    reference: str
    rows: tuple[str, ...]
    of: int
    drawn: frozenset[str] = field(default=frozenset())


def best_rows(material: Material, task: TaskName, metric: str) -> Compared:
    """Of a task that has records."""
    ranked = best_first(material, task, metric)
    of = references(material, task, ranked)
    reference = of[ranked[0]] or ranked[0]
    family = [name for name in ranked if name != reference and of[name] == reference]
    rows = tuple(family[:_MOST_COLUMNS])
    drawn = of_one_seed(material, task, dict.fromkeys(rows, reference))
    return Compared(reference=reference, rows=rows, of=len(family), drawn=drawn)


def of_one_seed(material: Material, task: TaskName, of: Mapping[str, str | None]) -> frozenset[str]:
    """Keys of the records of which one seed alone is common to a row and the one it is compared
    with, and which can be drawn by image. of: see `references`."""
    keys: dict[str, dict[int, str]] = {}
    for record in material.of_task(task):
        keys.setdefault(record.backbone, {})[record.seed] = record.key
    drawn: set[str] = set()
    for name, reference in of.items():
        own, others = keys.get(name, {}), keys.get(reference or "", {})
        if name != reference and len(shared := own.keys() & others) == 1:
            (seed,) = shared
            drawn |= {own[seed], others[seed]}
    return frozenset(drawn)


def class_draws(
    record: Record, evidence: Evidence, compared: Compared, metric: str
) -> npt.NDArray[np.float64] | None:
    """(draws + 1, K) in percent; None where the seeds can tell. metric: of `resample_classes`."""
    if record.key not in compared.drawn or not evidence.images:
        return None
    try:
        return resample_classes(evidence, draws_of(len(evidence.images)))[metric]
    except (ValueError, KeyError, IndexError, TypeError):
        return None  # the section itself says what is wrong with it


def draws_of(images: int) -> npt.NDArray[np.uint8]:
    """(draws + 1, images), see `weights`: fewer draws of many images."""
    return _weights(images, max(FEWEST_DRAWS, min(DRAWS, _MOST_DRAWN // images)))


@lru_cache(maxsize=1)
def _weights(images: int, draws: int) -> npt.NDArray[np.uint8]:
    return weights(images, draws)


def differences_by_class(
    own: Measured[T],
    reference: Measured[T],
    classes: Sequence[str],
    values: Callable[[T], PerClass],
    draws: Callable[[T], npt.NDArray[np.float64] | None],
    n_images: int,
) -> dict[str, Difference]:
    """By the seeds that both have; of one by its images. Corrected over the classes."""
    seeds = [
        {seed: values(value) for seed, value in row.by_seed.items()} for row in (own, reference)
    ]
    shared = sorted(seeds[0].keys() & seeds[1])
    by_image: dict[str, ByImage] = {}
    if len(shared) == 1:
        mine, theirs = (draws(row.by_seed[shared[0]]) for row in (own, reference))
        if mine is not None and theirs is not None:
            for place, name in enumerate(classes):
                found = compare([mine[:, place]], [theirs[:, place]], n_images)
                if found is not None:
                    by_image[name] = found
    return judged(common(*seeds), by_image)


def class_grid(
    metric: str,
    compared: Compared,
    reference: Measured[T],
    values: Callable[[T], PerClass],
    classes: Sequence[str],
    differences: Mapping[str, Mapping[str, Difference]],
) -> Grid:
    """metric: in words. differences: of each row, by class."""
    shown = classes[:_MOST_CLASSES]
    notes = []
    if differences:
        every = [each for of in differences.values() for each in of.values()]
        notes.append(f"{how_measured(every)}. {BEYOND_CHANCE} the classes of a row.")
    if compared.of > len(compared.rows):
        notes.append(f"The {len(compared.rows)} best of {compared.of} rows are shown.")
    if len(classes) > len(shown):
        notes.append(f"The first {len(shown)} of {len(classes)} classes are shown.")
    caption = f"{metric} by class of {reference.backbone}"
    if differences:
        caption += ", and the others minus it over the seeds that both have"
    return Grid(
        caption=caption,
        header=("class", reference.backbone, *differences),
        rows=tuple(
            (
                Cell(text=name),
                number(mean(values(value).get(name) for value in reference.values)),
                *(difference_cell(of.get(name), detail=False) for of in differences.values()),
            )
            for name in shown
        ),
        notes=tuple(notes),
    )
