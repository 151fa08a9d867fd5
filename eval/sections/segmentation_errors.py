"""Why the segmentors differ: classes, boundaries, and what is taken for what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evidence import Evidence
from eval.records import Record
from eval.sections.by_backbone import Measured, beside, measure, reference_of, short
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Grid, Plot, Section, number
from eval.text import in_one_line
from segmentation.evidence import COUNTS, class_shares, mean_present

_MOST_COLUMNS = 8
_MOST_CLASSES = 200
_MOST_IN_HEAT_MAP = 30
_MOST_PAIRS = 12


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    """iou: (K,) percent, NaN for a class without pixels. confusion: (K, K) percent of the pixels of
    the label (rows); NaN for a label that is nowhere."""

    classes: tuple[str, ...]
    iou: np.ndarray
    mean: float | None
    boundary: float | None
    confusion: np.ndarray


_Row = Measured[_Pixels]


def section(material: Material) -> Section | None:
    """None where no segmentor was scored."""
    if not material.of_task("segmentation"):
        return None
    rows, left_out = measure(
        material, "segmentation", _pixels, metric="mIoU", recomputed=lambda found: found.mean
    )
    title = "Where the segmentors go wrong"
    if not rows:
        return Section(
            key="segmentation-errors",
            title=title,
            lead="What the segmentors confuse is not known: it is computed from evidence, which "
            "these records do not have.",
            left_out=left_out,
        )
    ranked = sorted(rows, key=lambda row: -(row.mean(_mean_iou) or 0.0))
    best = ranked[0]
    confusion = _over_seeds([found.confusion for found in best.values])
    pairs = _pairs(confusion)
    classes = best.values[0].classes
    blocks: list[Block] = [_boundary_grid(rows)]
    if len(classes) <= _MOST_IN_HEAT_MAP:
        blocks.append(_heat_map(best, confusion, classes))
    if pairs:
        blocks.append(_pairs_grid(best, pairs, rows, classes))
    blocks.append(_classes_grid(rows, ranked, classes))
    return Section(
        key="segmentation-errors",
        title=title,
        lead=_lead(best, rows, pairs, classes),
        blocks=tuple(blocks),
        left_out=left_out,
    )


def _pixels(record: Record, evidence: Evidence) -> _Pixels:
    shape = (len(evidence.images), len(evidence.classes))
    counts = {name: evidence.arrays.get(name) for name in COUNTS}
    confusion = evidence.arrays.get("confusion")
    if any(part is None or part.shape != shape for part in counts.values()):
        raise ValueError(f"the evidence lacks pixels of {shape[0]} images and {shape[1]} classes")
    if confusion is None or confusion.shape != (shape[1], shape[1]):
        raise ValueError(f"the evidence has no confusion of {shape[1]} classes")
    hits, predicted, labeled, *boundary = (np.asarray(part, np.float64) for part in counts.values())
    iou = class_shares(hits, predicted + labeled - hits)
    pixels = confusion.sum(axis=1, keepdims=True, dtype=np.float64)
    shares = np.full(confusion.shape, np.nan)
    np.divide(100.0 * np.asarray(confusion, np.float64), pixels, out=shares, where=pixels > 0)
    return _Pixels(
        classes=evidence.classes,
        iou=iou,
        mean=mean_present(iou),
        boundary=mean_present(class_shares(boundary[0], boundary[1])),
        confusion=shares,
    )


def _mean_iou(found: _Pixels) -> float | None:
    return found.mean


def _boundary(found: _Pixels) -> float | None:
    return found.boundary


def _over_seeds(values: list[np.ndarray]) -> np.ndarray:
    """Means of what is not NaN; NaN where all are."""
    stack = np.stack(values)
    known = ~np.isnan(stack)
    counts = known.sum(axis=0)
    means = np.full(counts.shape, np.nan)
    np.divide(np.where(known, stack, 0.0).sum(axis=0), counts, out=means, where=counts > 0)
    return means


def _pairs(confusion: np.ndarray) -> list[tuple[int, int]]:
    """(label, prediction) of the largest shares off the diagonal, the largest first."""
    off = np.where(np.isnan(confusion), 0.0, confusion)
    np.fill_diagonal(off, 0.0)
    order = np.argsort(-off, axis=None, kind="stable")[:_MOST_PAIRS]
    places = (divmod(int(place), len(off)) for place in order)
    return [(label, predicted) for label, predicted in places if off[label, predicted] > 0]


def _lead(
    best: _Row, rows: list[_Row], pairs: list[tuple[int, int]], classes: tuple[str, ...]
) -> str:
    name = in_one_line(best.backbone)
    lead = (
        f"{name}, the best segmentor here, has {number(best.mean(_mean_iou)).text} mIoU, "
        f"and {number(best.mean(_boundary)).text} near the outlines."
    )
    if pairs:
        label, predicted = pairs[0]
        lead += f" Most often it takes {in_one_line(classes[label])} for "
        share = _over_seeds([found.confusion for found in best.values])[label, predicted]
        lead += f"{in_one_line(classes[predicted])}: {share:.1f}% of that class's pixels."
    other = beside(best, rows)
    if other is None:
        return lead
    change = _iou(best) - _iou(other)
    if np.all(np.isnan(change)):
        return lead
    most = int(np.nanargmax(np.abs(change)))
    return (
        f"{lead} Against {in_one_line(other.backbone)}, {in_one_line(classes[most])} changes "
        f"most: {change[most]:+.1f} points of IoU."
    )


def _iou(row: _Row) -> np.ndarray:
    return _over_seeds([found.iou for found in row.values])


def _boundary_grid(rows: list[_Row]) -> Grid:
    def less(row: _Row) -> float | None:
        whole, edge = row.mean(_mean_iou), row.mean(_boundary)
        return None if whole is None or edge is None else edge - whole

    return Grid(
        caption="mIoU of all pixels and of those near outlines",
        header=("backbone", "seeds", "mIoU", "boundary mIoU", "difference"),
        rows=tuple(
            (
                Cell(text=row.backbone),
                number(len(row.seeds), 0),
                row.cell(_mean_iou),
                row.cell(_boundary),
                number(less(row), signed=True),
            )
            for row in rows
        ),
        notes=(
            "Boundary IoU after Cheng et al. 2021: of the pixels of a class that lie within 2% of "
            "the image's diagonal of another class, of what is ignored, or of the image's edge.",
        ),
    )


def _heat_map(best: _Row, confusion: np.ndarray, classes: tuple[str, ...]) -> Plot:
    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        image = axes.imshow(np.nan_to_num(confusion), cmap="Blues", vmin=0, vmax=100)
        names, places = [short(name, 18) for name in classes], range(len(classes))
        axes.set_xticks(places, names, rotation=90, fontsize=8)
        axes.set_yticks(places, names, fontsize=8)
        axes.set_xlabel("taken for")
        axes.set_ylabel("is")
        if len(classes) <= 12:
            for (row, column), share in np.ndenumerate(confusion):
                if share >= 0.5:
                    color = "white" if share > 60 else "black"
                    axes.text(
                        column, row, f"{share:.0f}", ha="center", va="center", color=color,
                        fontsize=8,
                    )  # fmt: skip
        figure.colorbar(image, ax=axes, label="% of the class's pixels", shrink=0.8)

    side = min(8.0, 3.4 + 0.22 * len(classes))
    hits = np.diag(confusion)
    known = np.flatnonzero(~np.isnan(hits))
    told = ""
    if known.size:
        high, low = known[np.argmax(hits[known])], known[np.argmin(hits[known])]
        told = (
            f" Most of all is right of {in_one_line(classes[high])} ({hits[high]:.0f}%), least of "
            f"{in_one_line(classes[low])} ({hits[low]:.0f}%)."
        )
    return Plot(
        caption=f"What {in_one_line(best.backbone)} takes for what, percent of each class's pixels",
        alt=f"A heat map of {len(classes)} classes: rows are what a pixel is, columns what it is "
        f"taken for; the diagonal is right.{told}",
        draw=draw,
        size=(side + 1.0, side),
    )


def _pairs_grid(
    best: _Row, pairs: list[tuple[int, int]], rows: list[_Row], classes: tuple[str, ...]
) -> Grid:
    other = beside(best, rows)
    columns = [best] if other is None else [best, other]
    shares = [_over_seeds([found.confusion for found in row.values]) for row in columns]
    return Grid(
        caption="The classes that are confused most, percent of the class's pixels",
        header=("is", "taken for", *(row.backbone for row in columns)),
        rows=tuple(
            (
                Cell(text=classes[label]),
                Cell(text=classes[predicted]),
                *(number(_known(share[label, predicted])) for share in shares),
            )
            for label, predicted in pairs
        ),
    )


def _classes_grid(rows: list[_Row], ranked: list[_Row], classes: tuple[str, ...]) -> Grid:
    """IoU of each class: the reference's, and how much others differ from it."""
    reference = reference_of(rows)
    others = [row for row in ranked if row is not reference]
    columns = others[:_MOST_COLUMNS]
    base = _iou(reference)
    differences = [_iou(row) - base for row in columns]
    notes = []
    if len(others) > len(columns):
        notes.append(f"The {len(columns)} best of {len(others)} others are shown.")
    if len(classes) > _MOST_CLASSES:
        notes.append(f"The first {_MOST_CLASSES} of {len(classes)} classes are shown.")
    return Grid(
        caption="IoU by class: the first trained row's, and the differences from it",
        header=("class", reference.backbone, *(row.backbone for row in columns)),
        rows=tuple(
            (
                Cell(text=name),
                number(_known(base[place])),
                *(number(_known(change[place]), signed=True) for change in differences),
            )
            for place, name in enumerate(classes[:_MOST_CLASSES])
        ),
        notes=tuple(notes),
    )


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
