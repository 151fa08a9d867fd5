"""Why the segmentors differ: classes, boundaries, and what is taken for what."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from engine.evidence import Evidence
from eval.image_bootstrap import ByImage, compare, resample_boundaries
from eval.records import Record
from eval.sections.by_backbone import Measured, measure, short
from eval.sections.class_differences import (
    Compared,
    best_rows,
    class_draws,
    class_grid,
    differences_by_class,
    draws_of,
    of_one_seed,
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
from segmentation.evidence import COUNTS, class_shares, mean_present

_MOST_IN_HEAT_MAP = 30
_MOST_PAIRS = 12


@dataclass(frozen=True, kw_only=True)
class _Pixels:
    """iou: (K,) percent, NaN for a class without pixels. confusion: (K, K) percent of the pixels of
    the label (rows); NaN for a label that is nowhere. draws: of iou, by image (`class_draws`).
    boundary_draws: of boundary, (draws + 1,); both None where the seeds can tell."""

    images: int
    classes: tuple[str, ...]
    iou: np.ndarray
    mean: float | None
    boundary: float | None
    confusion: np.ndarray
    draws: np.ndarray | None
    boundary_draws: np.ndarray | None = None

    @property
    def per_class(self) -> dict[str, float | None]:
        return {name: _known(iou) for name, iou in zip(self.classes, self.iou, strict=True)}


_Row = Measured[_Pixels]


def section(material: Material) -> Section | None:
    """None where no segmentor was scored."""
    if not material.of_task("segmentation"):
        return None
    compared = best_rows(material, "segmentation", "mIoU")

    names = [row.name.backbone for row in material.table.rows]
    of = references(material, "segmentation", names)
    drawn = of_one_seed(material, "segmentation", of)

    def compute(record: Record, evidence: Evidence) -> _Pixels:
        return _pixels(record, evidence, compared, drawn)

    rows, left_out = measure(
        material, "segmentation", compute, metric="mIoU", recomputed=lambda found: found.mean
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
    best = max(rows, key=lambda row: row.mean(_mean_iou) or 0.0)
    by_name = {row.backbone: row for row in rows}
    other = by_name.get(of[best.backbone] or "")
    other = None if other is best else other
    confusion = _over_seeds([found.confusion for found in best.values])
    pairs = _pairs(confusion)
    classes = best.values[0].classes
    by_class, class_differences = _classes(compared, by_name)
    blocks: list[Block] = [_boundary_grid(rows, by_name, of)]
    if len(classes) <= _MOST_IN_HEAT_MAP:
        blocks.append(_heat_map(best, confusion, classes))
    if pairs:
        blocks.append(_pairs_grid(best, other, pairs, classes))
    return Section(
        key="segmentation-errors",
        title=title,
        lead=_lead(best, other, pairs, confusion, class_differences.get(best.backbone)),
        blocks=(*blocks, *by_class),
        left_out=left_out,
    )


def _pixels(
    record: Record, evidence: Evidence, compared: Compared, drawn: Collection[str]
) -> _Pixels:
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
        images=len(evidence.images),
        classes=evidence.classes,
        iou=iou,
        mean=mean_present(iou),
        boundary=mean_present(class_shares(boundary[0], boundary[1])),
        confusion=shares,
        draws=class_draws(record, evidence, compared, "mIoU"),
        boundary_draws=resample_boundaries(evidence, draws_of(shape[0]))
        if record.key in drawn and shape[0]
        else None,
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
    best: _Row,
    other: _Row | None,
    pairs: list[tuple[int, int]],
    confusion: np.ndarray,
    differences: Mapping[str, Difference] | None,
) -> str:
    name, classes = in_one_line(best.backbone), best.values[0].classes
    lead = (
        f"{name}, the best segmentor here, has {number(best.mean(_mean_iou)).text} mIoU, "
        f"and {number(best.mean(_boundary)).text} near the outlines."
    )
    if pairs:
        label, predicted = (in_one_line(classes[place]) for place in pairs[0])
        lead += (
            f" Its largest confusion: {confusion[pairs[0]]:.1f}% of the pixels labelled {label} "
            f"are called {predicted}."
        )
    if other is None or not differences:
        return lead
    said = told(differences, "class", "classes", "points of IoU")
    return f"{lead} Compared with {in_one_line(other.backbone)}: {said}."


def _boundary_grid(
    rows: Sequence[_Row], by_name: Mapping[str, _Row], of: Mapping[str, str | None]
) -> Grid:
    lists, by_image = {}, {}
    for row in rows:
        reference = by_name.get(of[row.backbone] or "")
        if reference is not None and reference is not row:
            values = [
                {seed: {"": found.boundary} for seed, found in each.by_seed.items()}
                for each in (row, reference)
            ]
            lists[row.backbone] = common(*values).get("", [])
            if (found := _boundary_by_image(row, reference)) is not None:
                by_image[row.backbone] = found
    changes = judged(lists, by_image)
    notes = [
        "Boundary IoU after Cheng et al. 2021: of the pixels of a class that lie within 2% of "
        "the image's diagonal of another class, of what is ignored, or of the image's edge."
    ]
    if changes:
        notes.append(
            f"Δ: minus {reference_of(changes, of)}. {how_measured(changes.values())}. "
            f"{BEYOND_CHANCE} the rows."
        )
    return Grid(
        caption="mIoU of all pixels and of those near outlines",
        header=(
            *("backbone", "seeds", "mIoU", "boundary mIoU"),
            *(("Δ boundary mIoU",) if changes else ()),
        ),
        rows=tuple(
            (
                Cell(text=row.backbone),
                number(len(row.seeds), 0),
                row.cell(_mean_iou),
                row.cell(_boundary),
                *((difference_cell(changes.get(row.backbone)),) if changes else ()),
            )
            for row in rows
        ),
        notes=tuple(notes),
    )


def _boundary_by_image(row: _Row, reference: _Row) -> ByImage | None:
    """Where one seed alone is common."""
    shared = row.by_seed.keys() & reference.by_seed
    if len(shared) != 1:
        return None
    (seed,) = shared
    own, other = row.by_seed[seed], reference.by_seed[seed]
    if own.boundary_draws is None or other.boundary_draws is None:
        return None
    return compare([own.boundary_draws], [other.boundary_draws], own.images)


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
        figure.colorbar(image, ax=axes, label="% of the pixels labelled so", shrink=0.8)

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
        caption=f"What {in_one_line(best.backbone)} takes for what, percent of the pixels of each "
        "label (row)",
        alt=f"A heat map of {len(classes)} classes: rows are what a pixel is, columns what it is "
        f"taken for; the diagonal is right.{told}",
        draw=draw,
        size=(side + 1.0, side),
    )


def _pairs_grid(
    best: _Row, other: _Row | None, pairs: list[tuple[int, int]], classes: tuple[str, ...]
) -> Grid:
    columns = [best] if other is None else [best, other]
    shares = [_over_seeds([found.confusion for found in row.values]) for row in columns]
    return Grid(
        caption=f"The largest confusions of {in_one_line(best.backbone)}: percent of the pixels of "
        "that label that are taken for the other class",
        header=("label", "taken for", *(row.backbone for row in columns)),
        rows=tuple(
            (
                Cell(text=classes[label]),
                Cell(text=classes[predicted]),
                *(number(_known(share[label, predicted])) for share in shares),
            )
            for label, predicted in pairs
        ),
    )


def _classes(
    compared: Compared, by_name: Mapping[str, _Row]
) -> tuple[list[Grid], dict[str, dict[str, Difference]]]:
    """IoU of each class: the reference's and how the best rows differ from it; and the latter."""
    reference = by_name.get(compared.reference)
    if reference is None:
        return [], {}
    found = reference.values[0]
    differences = {
        name: differences_by_class(
            by_name[name],
            reference,
            found.classes,
            lambda each: each.per_class,
            lambda each: each.draws,
            found.images,
        )
        for name in compared.rows
        if name in by_name
    }
    grid = class_grid(
        "IoU", compared, reference, lambda each: each.per_class, found.classes, differences
    )
    return [grid], differences


def _known(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
