"""What is computed from the evidence of one task, for each backbone over its seeds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from engine.evidence import Evidence
from eval.records import Record, TaskName
from eval.sections.material import Material
from eval.sections.section import Cell, number
from eval.text import in_one_line

T = TypeVar("T")

_SAME = 1e-2
"""Points by which a record's number may differ from what its evidence gives: rounding, no more."""
_MOST_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class Measured(Generic[T]):
    """values: what was computed for each of the seeds."""

    backbone: str
    seeds: tuple[int, ...]
    values: tuple[T, ...]

    @property
    def by_seed(self) -> dict[int, T]:
        return dict(zip(self.seeds, self.values, strict=True))

    def mean(self, of: Callable[[T], float | None]) -> float | None:
        """Over the seeds that have it; None where none has."""
        return mean(of(value) for value in self.values)

    def cell(self, of: Callable[[T], float | None], digits: int = 1) -> Cell:
        """The mean, and on demand the seeds."""
        shown = number(self.mean(of), digits)
        if len(self.values) < 2:
            return shown
        seeds = self.by_seed.items()
        told = "; ".join(f"seed {seed}: {number(of(v), digits).text}" for seed, v in seeds)
        return Cell(text=shown.text, sort=shown.sort, detail=told)


def mean(values: Iterable[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    present = [value for value in values if value is not None and math.isfinite(value)]
    return sum(present) / len(present) if present else None


def measure(
    material: Material,
    task: TaskName,
    compute: Callable[[Record, Evidence], T],
    *,
    metric: str,
    recomputed: Callable[[T], float | None],
) -> tuple[list[Measured[T]], tuple[str, ...]]:
    """Of the rows of the table, in their order; and what is left out, in words.

    compute: raises ValueError for evidence that it can make nothing of. All that is compared is of
    the same images and classes. recomputed: the `metric`
    of the record as the evidence gives it: where they differ the evidence is not of that record.
    """
    found: dict[str, tuple[list[int], list[T]]] = {}
    missing: dict[str, list[str]] = {}
    world: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    for record in material.of_task(task):
        reason, value = "no evidence was kept, or none that can be read", None
        if (evidence := material.evidence(record)) is not None:
            try:
                value = compute(record, evidence)
            except ValueError as error:
                reason = str(error)
            else:
                world = world or (evidence.classes, evidence.images)
                if world != (evidence.classes, evidence.images):
                    reason, value = "its evidence is of other images or classes", None
                elif not _agrees(record, metric, recomputed(value)):
                    reason, value = f"its evidence gives another {metric} than its record", None
        if value is None:
            missing.setdefault(reason, []).append(f"{record.backbone} (seed {record.seed})")
        else:
            seeds, values = found.setdefault(record.backbone, ([], []))
            seeds.append(record.seed)
            values.append(value)
    measured = [
        Measured(
            backbone=row.name.backbone,
            seeds=tuple(found[row.name.backbone][0]),
            values=tuple(found[row.name.backbone][1]),
        )
        for row in material.table.rows
        if row.name.backbone in found
    ]
    return measured, tuple(f"{named(who)}: {reason}." for reason, who in missing.items())


def best_first(material: Material, task: TaskName, metric: str) -> list[str]:
    """Backbones with numbers of the task, by the mean of the metric over their seeds."""
    values: dict[str, list[float | None]] = {}
    for record in material.of_task(task):
        found = record.metrics.get(metric)
        values.setdefault(record.backbone, []).append(None if found is None else found.value)
    means = {name: mean(of) for name, of in values.items()}
    known = {name: -math.inf if value is None else value for name, value in means.items()}
    return sorted(known, key=lambda name: -known[name])


def named(names: Sequence[str]) -> str:
    """The first few of them."""
    told = ", ".join(in_one_line(name) for name in names[:_MOST_NAMES])
    more = len(names) - _MOST_NAMES
    return f"{told} and {more} more" if more > 0 else told


def short(name: str, most: int = 30) -> str:
    """A name that fits beside a plot's axis."""
    name = in_one_line(name)
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _agrees(record: Record, metric: str, value: float | None) -> bool:
    said = record.metrics.get(metric)
    if said is None or said.value is None or value is None:
        return True
    return abs(said.value - value) <= _SAME
