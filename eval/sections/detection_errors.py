"""Why the detectors differ: error types in the manner of TIDE, AP by object size and by class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from detection.error_types import TYPES, ErrorTypes, error_types, size_limits, size_precisions
from detection.evidence import stacked
from detection.voc_average_precision import VOC_MODES
from engine.evidence import Evidence
from eval.records import Record
from eval.sections.by_backbone import Measured, beside, mean, measure, reference_of, short
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.text import in_one_line

_MOST_BARS = 30
_MOST_COLUMNS = 8
_MOST_CLASSES = 200
_SIZES = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class _Errors:
    """limits: sides in pixels of a square of the area that parts two sizes."""

    types: ErrorTypes
    images: int
    wrong: int
    objects: int
    sizes: tuple[float | None, ...]
    limits: tuple[float, float] | None
    per_class: dict[str, float | None]


_Row = Measured[_Errors]


def section(material: Material) -> Section | None:
    """None where no detector was scored."""
    if not material.of_task("detection"):
        return None
    rows, left_out = measure(
        material, "detection", _errors, metric="mAP", recomputed=lambda found: found.types.mean
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
    blocks: list[Block] = [_plot(ranked[:_MOST_BARS], len(rows)), _errors_grid(rows)]
    blocks += [_counts_grid(rows), _sizes_grid(rows), *_classes_grid(rows, ranked)]
    return Section(
        key="detection-errors",
        title=title,
        lead=_lead(ranked),
        blocks=tuple(blocks),
        left_out=left_out,
    )


def _errors(record: Record, evidence: Evidence) -> _Errors:
    rows, images, classes = stacked(evidence), len(evidence.images), len(evidence.classes)
    budget = record.protocol.get("budget")
    metric = budget.get("metric") if isinstance(budget, dict) else None
    metric = metric if metric in VOC_MODES else next(iter(VOC_MODES))
    options: Any = dict(images=images, classes=classes, metric=metric)
    limits = size_limits(rows)
    types = error_types(rows, **options)
    return _Errors(
        types=types,
        images=images,
        wrong=sum(count for name, count in types.counts.items() if name != "missed"),
        objects=int(np.count_nonzero(~rows.difficult)),
        sizes=(None,) * 3 if limits is None else size_precisions(rows, limits=limits, **options),
        limits=None if limits is None else (math.sqrt(limits[0]), math.sqrt(limits[1])),
        per_class=dict(record.per_class.get("mAP", {})),
    )


def _mean_ap(found: _Errors) -> float | None:
    return found.types.mean


def _gain(row: _Row, name: str) -> float:
    return row.mean(lambda found: found.types.gains[name]) or 0.0


def _lead(ranked: list[_Row]) -> str:
    best = ranked[0]
    worst = max(TYPES, key=lambda name: _gain(best, name))
    lead = (
        f"{in_one_line(best.backbone)}, the best detector here, loses most to "
        f"{_described(worst)}: without them its mAP of {_text(best.mean(_mean_ap))} would be "
        f"{_gain(best, worst):.1f} points higher."
    )
    other = beside(best, ranked)
    if other is None:
        return lead
    changes = {name: _gain(best, name) - _gain(other, name) for name in TYPES}
    name = max(changes, key=lambda name: abs(changes[name]))
    return (
        f"{lead} The greatest change from {in_one_line(other.backbone)} is in "
        f"{_described(name)}: {_gain(best, name):.1f} points lie in them, not "
        f"{_gain(other, name):.1f}."
    )


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
        caption="What each type of error costs; the types overlap, so that their sum is only a "
        f"measure.{shown}",
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


def _sizes_grid(rows: list[_Row]) -> Grid:
    limits = [found.limits for row in rows for found in row.values if found.limits is not None]
    notes: tuple[str, ...] = ()
    if limits:
        lower, upper = limits[0]
        notes = (
            "Sizes are thirds of the test set's own objects by area: small up to a square of "
            f"{lower:.0f} x {lower:.0f} pixels, large above {upper:.0f} x {upper:.0f}. (COCO's "
            "32 and 96 pixels suit larger images.) Objects of other sizes, and wrong detections of "
            "other sizes, do not count.",
        )
    return Grid(
        caption="mAP by size of the objects",
        header=("backbone", *_SIZES),
        rows=tuple(
            (
                Cell(text=row.backbone),
                *(row.cell(lambda f, n=n: f.sizes[n]) for n in range(len(_SIZES))),  # type: ignore[misc]
            )
            for row in rows
        ),
        notes=notes,
    )


def _classes_grid(rows: list[_Row], ranked: list[_Row]) -> list[Grid]:
    """AP of each class: the reference's, and how much others differ from it."""
    reference = reference_of(rows)
    classes = list(dict.fromkeys(c for r in rows for v in r.values for c in v.per_class))
    if not classes:
        return []
    columns = [row for row in ranked if row is not reference][:_MOST_COLUMNS]
    table = {
        row.backbone: {c: mean(v.per_class.get(c) for v in row.values) for c in classes}
        for row in (reference, *columns)
    }
    base = table[reference.backbone]
    notes = []
    if len(rows) - 1 > len(columns):
        notes.append(f"The {len(columns)} best of {len(rows)} backbones are shown.")
    if len(classes) > _MOST_CLASSES:
        notes.append(f"The first {_MOST_CLASSES} of {len(classes)} classes are shown.")
    return [
        Grid(
            caption="AP by class: the first trained row's, and the differences from it",
            header=("class", reference.backbone, *(row.backbone for row in columns)),
            rows=tuple(
                (
                    Cell(text=name),
                    number(base[name]),
                    *(
                        number(_less(table[row.backbone][name], base[name]), signed=True)
                        for row in columns
                    ),
                )
                for name in classes[:_MOST_CLASSES]
            ),
            notes=tuple(notes),
        )
    ]


def _less(value: float | None, other: float | None) -> float | None:
    return None if value is None or other is None else value - other
