"""Why the detectors differ: error types in the manner of TIDE, AP by object size and by class."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detection.error_types import TYPES, ErrorTypes, error_types, size_limits, size_precisions
from detection.evidence import stacked
from detection.voc_average_precision import VOC_MODES, judge
from engine.evidence import Evidence
from eval.records import Record
from eval.sections.by_backbone import Measured, measure, short
from eval.sections.class_differences import (
    Compared,
    best_rows,
    class_draws,
    class_grid,
    differences_by_class,
)
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    common,
    difference_cell,
    how_measured,
    judged,
    reference_of,
    references,
    told,
)
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.text import in_one_line

_MOST_BARS = 30
_SIZES = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class _Errors:
    """limits: sides in pixels of a square of the area that parts two sizes. draws: of the APs of
    the classes, by image (`class_draws`)."""

    types: ErrorTypes
    images: int
    wrong: int
    objects: int
    sizes: tuple[float | None, ...]
    limits: tuple[float, float] | None
    per_class: dict[str, float | None]
    draws: np.ndarray | None


_Row = Measured[_Errors]


def section(material: Material) -> Section | None:
    """None where no detector was scored."""
    if not material.of_task("detection"):
        return None
    compared = best_rows(material, "detection", "mAP")

    def compute(record: Record, evidence: Evidence) -> _Errors:
        return _errors(record, evidence, compared)

    rows, left_out = measure(
        material, "detection", compute, metric="mAP", recomputed=lambda found: found.types.mean
    )
    title = "What the detectors do wrong"
    if not rows:
        return Section(
            key="detection-errors",
            title=title,
            lead="What kind of errors the detectors make is not known: it is computed from "
            "evidence, which these records do not have.",
            left_out=left_out,
        )
    ranked = sorted(rows, key=lambda row: -(row.mean(_mean_ap) or 0.0))
    of = references(material, "detection", [row.backbone for row in rows])
    by_name = {row.backbone: row for row in rows}
    types = _differences(rows, by_name, of, lambda found: found.types.gains)
    sizes = _differences(rows, by_name, of, _by_size)
    classes, by_class = _classes(compared, by_name)
    blocks: list[Block] = [_plot(ranked[:_MOST_BARS], len(rows)), _errors_grid(rows)]
    if types:
        blocks.append(_changes_grid(rows, types, of))
    blocks += [_counts_grid(rows), _sizes_grid(rows, sizes, of), *classes]
    return Section(
        key="detection-errors",
        title=title,
        lead=_lead(ranked[0], of[ranked[0].backbone], types, by_class),
        blocks=tuple(blocks),
        left_out=left_out,
    )


def _errors(record: Record, evidence: Evidence, compared: Compared) -> _Errors:
    rows, images, classes = stacked(evidence), len(evidence.images), len(evidence.classes)
    budget = record.protocol.get("budget")
    metric = budget.get("metric") if isinstance(budget, dict) else None
    if metric == "coco":
        raise ValueError("its mAP is COCO's, and errors are told apart by what they cost VOC's")
    metric = metric if metric in VOC_MODES else next(iter(VOC_MODES))
    judged, limits = judge(rows, images, classes), size_limits(rows)
    types = error_types(rows, judged, metric=metric)
    return _Errors(
        types=types,
        images=images,
        wrong=sum(count for name, count in types.counts.items() if name != "missed"),
        objects=int(np.count_nonzero(~rows.difficult)),
        sizes=(None,) * 3
        if limits is None
        else size_precisions(rows, judged, metric=metric, limits=limits),
        limits=None if limits is None else (math.sqrt(limits[0]), math.sqrt(limits[1])),
        per_class=dict(record.per_class.get("mAP", {})),
        draws=class_draws(
            record, evidence, compared, "mAP_area" if metric == "area" else "mAP_voc07"
        ),
    )


_References = Mapping[str, str | None]
_Differences = dict[str, dict[str, Difference]]
"""backbone -> name -> difference to its reference; only rows that have one."""


def _differences(
    rows: Sequence[_Row],
    by_name: Mapping[str, _Row],
    of: _References,
    values: Callable[[_Errors], Mapping[str, float | None]],
) -> _Differences:
    by_seed = {
        row.backbone: {seed: values(found) for seed, found in row.by_seed.items()} for row in rows
    }
    found = {
        row.backbone: judged(common(by_seed[row.backbone], by_seed[reference]))
        for row in rows
        if (reference := of[row.backbone] or "") in by_name and reference != row.backbone
    }
    return {name: differences for name, differences in found.items() if differences}


def _by_size(found: _Errors) -> dict[str, float | None]:
    return dict(zip(_SIZES, found.sizes, strict=True))


def _mean_ap(found: _Errors) -> float | None:
    return found.types.mean


def _gain(row: _Row, name: str) -> float:
    return row.mean(lambda found: found.types.gains[name]) or 0.0


def _lead(
    best: _Row,
    reference: str | None,
    types: _Differences,
    by_class: Mapping[str, Mapping[str, Difference]],
) -> str:
    worst = max(TYPES, key=lambda name: _gain(best, name))
    lead = (
        f"{in_one_line(best.backbone)}, the best detector here, loses most to "
        f"{_described(worst)}: without them its mAP of {_text(best.mean(_mean_ap))} would be "
        f"{_gain(best, worst):.1f} points higher."
    )
    if best.backbone not in types:
        return lead
    said = told(types[best.backbone], "type of error", "types of error", "points of dAP")
    lead += f" Compared with {in_one_line(reference or '')}: {said}."
    if best.backbone in by_class:
        lead += f" Of the classes: {told(by_class[best.backbone], 'class', 'classes')}."
    return lead


def _described(name: str) -> str:
    return "missed objects" if name == "missed" else f"{name} errors"


def _text(value: float | None) -> str:
    return number(value).text


def _plot(rows: list[_Row], total: int) -> Plot:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        places, left = np.arange(len(rows)), np.zeros(len(rows))
        for name in TYPES:
            gains = np.array([_gain(row, name) for row in rows])
            axes.barh(places, gains, left=left, height=0.7, label=name)
            left += gains
        axes.set_yticks(places, [short(row.backbone) for row in rows])
        axes.invert_yaxis()
        axes.set_xlabel("points of mAP, each type mended alone")
        figure.legend(loc="outside upper center", ncols=3, fontsize=9)

    shown = "" if total <= len(rows) else f" The {len(rows)} best of {total} are shown."
    best = rows[0]
    told = ", ".join(f"{name} {_gain(best, name):.1f}" for name in TYPES)
    return Plot(
        caption="What each type of error costs; one detection can be wrong in "
        f"several ways, so the parts of a bar do not add up to what is missing from 100.{shown}",
        alt=f"Stacked bars of points of mAP by type of error, one for each of {len(rows)} "
        f"backbones, the best first. {in_one_line(best.backbone)}: {told}.",
        draw=draw,
        size=(7.0, 1.6 + 0.3 * len(rows)),
    )


def _errors_grid(rows: list[_Row]) -> Grid:
    def gains(row: _Row) -> list[Cell]:
        cells = [row.cell(lambda f, n=name: f.types.gains[n]) for name in TYPES]  # type: ignore[misc]
        false = (lambda f: f.types.false_positives, lambda f: f.types.false_negatives)
        return cells + [row.cell(of) for of in false]

    return Grid(
        caption="dAP: points of mAP that would be won if one type of error alone were mended",
        header=("backbone", "seeds", "mAP", *TYPES, "all wrong ones", "all not found"),
        rows=tuple(
            (
                Cell(text=row.backbone),
                number(len(row.seeds), 0),
                row.cell(_mean_ap),
                *gains(row),
            )
            for row in rows
        ),
        notes=(
            "; ".join(f"{name}: {meaning}" for name, meaning in TYPES.items()) + ".",
            "After TIDE (Bolya et al. 2020): near an object is IoU above 0.1, on it at least 0.5; "
            "AP at IoU 0.5 as in the mAP beside it; difficult objects are as if not there. All "
            "wrong ones: no wrong detection; all not found: objects that are not found do not "
            "count.",
        ),
    )


def _changes_grid(rows: Sequence[_Row], types: _Differences, of: _References) -> Grid:
    compared = reference_of(types, of)
    columns = ("compared with",) if len({of[name] for name in types}) > 1 else ()
    every = [each for found in types.values() for each in found.values()]
    return Grid(
        caption=f"Change of dAP: each row's minus that of {compared}, of the same seeds; below 0, "
        "fewer points lie in that type of error",
        header=("backbone", *columns, *TYPES),
        rows=tuple(
            (
                Cell(text=row.backbone),
                *(Cell(text=of[row.backbone] or "") for _ in columns),
                *(difference_cell(types[row.backbone].get(name)) for name in TYPES),
            )
            for row in rows
            if row.backbone in types
        ),
        notes=(f"{how_measured(every)}. {BEYOND_CHANCE} the types of a row.",),
    )


def _counts_grid(rows: list[_Row]) -> Grid:
    def per_image(count: int, found: _Errors) -> float | None:
        return count / found.images if found.images else None

    def missed(found: _Errors) -> float | None:
        return 100 * found.types.counts["missed"] / found.objects if found.objects else None

    wrong = [name for name in TYPES if name != "missed"]
    return Grid(
        caption="Wrong detections of an image by type, and objects that are missed",
        header=("backbone", *wrong, "all wrong", "missed, % of objects"),
        rows=tuple(
            (
                Cell(text=row.backbone),
                *(
                    row.cell(lambda f, n=name: per_image(f.types.counts[n], f), 2)  # type: ignore[misc]
                    for name in wrong
                ),
                row.cell(lambda f: per_image(f.wrong, f), 2),
                row.cell(missed),
            )
            for row in rows
        ),
    )


def _sizes_grid(rows: Sequence[_Row], changes: _Differences, of: _References) -> Grid:
    limits = [found.limits for row in rows for found in row.values if found.limits is not None]
    notes: list[str] = []
    if limits:
        lower, upper = limits[0]
        notes.append(
            "Sizes are thirds of the test set's own objects by area: small up to a square of "
            f"{lower:.0f} x {lower:.0f} pixels, large above {upper:.0f} x {upper:.0f}. (COCO's "
            "32 and 96 pixels suit larger images.) Objects of other sizes, and wrong detections of "
            "other sizes, do not count."
        )
    columns: tuple[str, ...] = ()
    if changes:
        columns = tuple(f"Δ {size}" for size in _SIZES)
        every = [each for found in changes.values() for each in found.values()]
        notes.append(
            f"Δ: minus {reference_of(changes, of)}. {how_measured(every)}. "
            f"{BEYOND_CHANCE} the sizes of a row."
        )
    return Grid(
        caption="mAP by size of the objects",
        header=("backbone", *_SIZES, *columns),
        rows=tuple(
            (
                Cell(text=row.backbone),
                *(row.cell(lambda f, n=n: f.sizes[n]) for n in range(len(_SIZES))),  # type: ignore[misc]
                *(
                    difference_cell(changes.get(row.backbone, {}).get(size))
                    for size in _SIZES[: len(columns)]
                ),
            )
            for row in rows
        ),
        notes=tuple(notes),
    )


def _classes(
    compared: Compared, by_name: Mapping[str, _Row]
) -> tuple[list[Grid], dict[str, dict[str, Difference]]]:
    """AP of each class: the reference's and how the best rows differ from it; and the latter."""
    reference = by_name.get(compared.reference)
    if reference is None:
        return [], {}
    rows = [by_name[name] for name in compared.rows if name in by_name]
    of_all = (found.per_class for row in (reference, *rows) for found in row.values)
    classes = list(dict.fromkeys(name for per_class in of_all for name in per_class))
    if not classes:
        return [], {}
    images = reference.values[0].images
    differences = {
        row.backbone: differences_by_class(
            row, reference, classes, lambda f: f.per_class, lambda f: f.draws, images
        )
        for row in rows
    }
    grid = class_grid("AP", compared, reference, lambda f: f.per_class, classes, differences)
    return [grid], differences
