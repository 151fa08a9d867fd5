"""Each cell beside the published number; only on the benchmark whose numbers were published."""

from __future__ import annotations

from benchmarks.published import load_published
from eval.beside_published import beside_published
from eval.records import Record
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Section, number, texts
from eval.summary import Score

_METRICS = ("top1", "top5", "mAP", "mIoU", "aAcc")


def section(material: Material) -> Section | None:
    """None on every other benchmark."""
    table, published = material.table, load_published()
    if table.benchmark != published.benchmark:
        return None
    rows: list[tuple[Cell, ...]] = []
    cited: dict[str, str] = {}
    without = []
    of_row: dict[str, list[Record]] = {}
    for record in material.records:
        of_row.setdefault(record.backbone, []).append(record)
    for row in table.rows:
        shown = len(rows)
        for metric in _METRICS:
            score = row.metrics.get(metric)
            for found in beside_published(
                table.benchmark, row.name.backbone, metric, of_row.get(row.name.backbone, ())
            ):
                ours = None if score is None else score.value.mean
                by = None if ours is None else ours - found.number.value
                cited[found.number.source] = published.sources[found.number.source]
                note = f" ({found.number.note})" if found.number.note else ""
                rows.append(
                    (
                        Cell(text=row.name.backbone),
                        Cell(text=metric),
                        _ours(score, len(table.seeds)),
                        Cell(text=found.value, sort=found.number.value),
                        number(by, 2, signed=True),
                        Cell(text=found.brief, detail=found.verdict),
                        Cell(text=f"{found.number.where}{note}", detail=found.source),
                    )
                )
        if len(rows) == shown and row.name.control is not None:
            without.append(row.name.backbone)
    compared = [row for row in rows if row[2].sort is not None]
    lead = (
        f"{len(compared)} numbers stand beside a published one. Where the protocol differs, or the "
        "source does not say it, the difference says nothing of this code."
        if compared
        else "None of the rows has been published with a number that was measured here."
    )
    neighbours = Grid(
        caption="Near protocols: what other programs give for weights of their own, in percent",
        header=("program", "published", "source"),
        rows=tuple(
            texts((n.what, ", ".join(f"{value:g}" for value in n.values), n.source))
            for n in published.neighbours
        ),
    )
    grid = Grid(
        caption="Measured here and published, in percent",
        header=(
            "backbone",
            "metric",
            "here",
            "published",
            "difference",
            "protocol",
            "source",
        ),
        rows=tuple(rows),
        notes=(
            "Where a source gives a number more than once, each stands here.",
            *(f"Source: {source}." for source in cited.values()),
        ),
    )
    missing = tuple(f"{name}: no published number is known" for name in without)
    return Section(
        key="published",
        title="Against the published numbers",
        lead=lead,
        blocks=(grid, neighbours) if rows else (neighbours,),
        left_out=missing[:20],
    )


def _ours(score: Score | None, seeds: int) -> Cell:
    """The mean, and of how many seeds: fewer than asked for says so."""
    if score is None:
        return Cell(text="–")
    of = f" of {seeds}" if score.value.n < seeds else ""
    plural = "s" if (seeds if of else score.value.n) != 1 else ""
    mean = score.value.mean
    return Cell(text=f"{mean:.2f} ({score.value.n}{of} seed{plural})", sort=mean)
