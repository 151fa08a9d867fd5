"""Fine-tunings in several folds: top-1 of each fold's validation images, and how sure the mean is.

Training sets of folds overlap, so that their values vary less than those of trainings on images
that were drawn anew; the interval is widened for that (Nadeau and Bengio 2003).
"""

from __future__ import annotations

from collections.abc import Sequence

from eval.intervals import Interval, corrected_interval
from eval.records import Record
from eval.sections.classifiers import by_backbone
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Section, number

_Key = tuple[int, str]
"""Seed and name of a fold: the same images for all rows, whatever is learnt from them."""

_NOTES = (
    "Interval: 95%, Student's, over folds and not over seeds or other test images; its variance "
    "is s² (1/J + validated/fitted images) for J folds, since their training images overlap "
    "(Nadeau and Bengio 2003, Inference for the generalization error).",
    "Of several seeds the folds of all are taken together. Δ: fold by fold, of the same images.",
)


def section(material: Material) -> Section | None:
    """None where nothing was fine-tuned in folds."""
    values = {
        name: found
        for name, records in by_backbone(material.of_task("finetune")).items()
        if (found := _values(records))
    }
    if not values:
        return None
    ratios = {record.backbone: _ratio(record) for record in material.of_task("finetune")}
    rows = []
    left_out = []
    for name, of_fold in values.items():
        ratio = ratios[name]
        if ratio is None:
            left_out.append(f"{name}: its record does not say how its images were divided")
            continue
        reference = material.reference_row("finetune", name)
        others = values.get(reference or "", {}) if reference != name else {}
        deltas = [value - others[key] for key, value in of_fold.items() if key in others]
        rows.append(_row(name, list(of_fold.values()), deltas, ratio))
    best = max(rows, key=lambda row: row[2].sort or 0.0, default=None)
    lead = "No row can be shown."
    if best is not None:
        lead = f"{best[0].text} has the highest mean top-1 over its folds, {best[2].text}."
    return Section(
        key="folds",
        title="Your images: folds",
        lead=lead,
        blocks=(
            Grid(
                caption="Top-1 of each fold's validation images, in percent",
                header=("backbone", "folds", "top-1", "lowest", "highest", "Δ top-1"),
                rows=tuple(rows),
                notes=_NOTES,
            ),
        )
        if rows
        else (),
        left_out=tuple(left_out),
    )


def _values(records: Sequence[Record]) -> dict[_Key, float]:
    """Without the folds that diverged."""
    return {
        (record.seed, fold): value
        for record in records
        for fold, value in record.per_class.get("folds", {}).items()
        if value is not None
    }


def _ratio(record: Record) -> float | None:
    """Validated images over fitted ones of a fold."""
    division = record.protocol.get("division")
    if not isinstance(division, dict):
        return None
    try:
        if division["validation"] == "kfold":
            return float(1 / (division["folds"] - 1))
        return float(division["share"] / (1 - division["share"]))
    except (KeyError, TypeError, ZeroDivisionError):
        return None


def _row(
    name: str, values: Sequence[float], deltas: Sequence[float], ratio: float
) -> tuple[Cell, ...]:
    return (
        Cell(text=name),
        Cell(text=str(len(values)), sort=len(values)),
        _interval(corrected_interval(values, ratio)),
        number(min(values)),
        number(max(values)),
        _interval(corrected_interval(deltas, ratio), signed=True),
    )


def _interval(found: Interval | None, *, signed: bool = False) -> Cell:
    if found is None:
        return number(None)
    mean = number(found.mean, signed=signed)
    if found.ci95 is None:
        return Cell(text=mean.text, sort=found.mean, detail="one fold, no interval")
    half = number(found.ci95[1] - found.mean).text
    return Cell(text=f"{mean.text} ± {half}", sort=found.mean)
