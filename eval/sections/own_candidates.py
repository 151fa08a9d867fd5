"""Among which backbones one was chosen to be fine-tuned on one's own images, and by what."""

from __future__ import annotations

from classification.slices import wilson_interval
from eval.probed import probed, ranked
from eval.recording import as_planned
from eval.records import Record, canonical
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Section, number
from eval.short_names import short_name
from eval.text import in_one_line

_EXPLAINED = (
    "Percent of the training images that a classifier on frozen features gets right out of fold; "
    "test images have no part in it. Half of a Wilson interval stands behind ±: it is of these "
    "images, not of how well the probe foretells what fine-tuning will reach."
)


def section(material: Material) -> Section | None:
    """None where fewer than two candidates were probed beside the table."""
    records = {record.backbone: record for record in _of_one_question(material)}
    found = probed(records.values())
    names = ranked(found)
    if len(names) < 2:
        return None
    first, second = (found[name]["linear_probe"] for name in names[:2])
    return Section(
        key="own-candidates",
        title="Your images: the backbone",
        lead=f"Of {len(names)} candidates {_shown(names[0])} has the best features for these "
        f"images: a linear probe on them is right on {first:.1f}%, on those of the next, "
        f"{_shown(names[1])}, on {second:.1f}%.",
        blocks=(
            Grid(
                caption="Probes of the candidates",
                header=("backbone", "linear probe, %", "k-NN, %", "images"),
                rows=tuple(_row(records[name], found[name]) for name in names),
                notes=(_EXPLAINED,),
            ),
        ),
    )


def _of_one_question(material: Material) -> list[Record]:
    """The newest probes that have all in common but their backbone, of the images of the table in
    its size: those of images that have changed since are not of this table."""
    asked = {_images(r) for r in material.records if r.task == "finetune"}
    alike: dict[str, list[Record]] = {}
    for record in material.probes:
        if record.status == "ok" and _images(record) in asked:
            key = f"{record.seed} {canonical(as_planned(record.protocol))}"
            alike.setdefault(key, []).append(record)
    return max(alike.values(), key=lambda of: max(r.finished for r in of), default=[])


def _images(record: Record) -> str:
    """Which ones, and in which size."""
    budget = record.protocol.get("budget", {})
    sizes = [budget.get(name) for name in ("image_size", "resize_size")]
    return canonical([record.protocol.get("data"), *sizes])


def _row(record: Record, of: dict[str, float]) -> tuple[Cell, ...]:
    n = record.metrics["linear_probe"].n
    cells = []
    for top1 in (of["linear_probe"], of["knn"]):
        if not n:
            cells.append(number(top1))
            continue
        low, high = wilson_interval(round(top1 * n / 100), n)
        detail = f"95% interval {low:.1f} to {high:.1f}"
        cells.append(Cell(text=f"{top1:.1f} ± {(high - low) / 2:.1f}", sort=top1, detail=detail))
    return (Cell(text=_shown(record.backbone)), *cells, number(n, 0))


def _shown(name: str) -> str:
    return in_one_line(short_name(name))
