"""Which of all records belong into one table: those of the newest protocol and weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eval.recording import as_planned
from eval.records import Record, TaskName, canonical
from eval.summary import RowName


@dataclass(frozen=True, kw_only=True)
class Selection:
    """kept: at most one record per (backbone, task, seed). left_out: of other conditions."""

    kept: tuple[Record, ...]
    left_out: tuple[Record, ...]
    rows: tuple[RowName, ...]
    seeds: tuple[int, ...]
    tasks: tuple[TaskName, ...]


def select_comparable(records: Iterable[Record]) -> Selection:
    """Records that may stand in one table.

    Of each fine-tuning task the protocol of the newest record counts (another image size or data
    set is another question); then of each backbone the newest weights (a changed pretraining
    budget makes other ones). Backbones that were only trained to teach others make no row.
    """
    everything = sorted(records, key=lambda record: (record.finished, record.key))
    newest_protocol: dict[TaskName, str] = {
        record.task: canonical(as_planned(record.protocol))
        for record in everything
        if record.task != "classification"
    }
    fitting = [
        record
        for record in everything
        if record.task == "classification"
        or canonical(as_planned(record.protocol)) == newest_protocol[record.task]
    ]
    newest_lineage = {record.backbone: record.lineage for record in fitting}
    chosen: dict[tuple[str, str, int], Record] = {}
    for record in fitting:
        if newest_lineage[record.backbone] == record.lineage:
            chosen[record.backbone, record.task, record.seed] = record
    kept = _without_mere_teachers(list(chosen.values()))
    keys = {record.key for record in chosen.values()}
    return Selection(
        kept=tuple(kept),
        left_out=tuple(record for record in everything if record.key not in keys),
        rows=_rows(kept),
        seeds=tuple(sorted({record.seed for record in kept})),
        tasks=tuple(
            task
            for task in ("detection", "segmentation")
            if any(record.task == task for record in kept)
        ),
    )


def _without_mere_teachers(records: Sequence[Record]) -> list[Record]:
    transferred = {record.backbone for record in records if record.task != "classification"}
    if not transferred:
        return list(records)
    return [record for record in records if record.backbone in transferred]


def _rows(records: Sequence[Record]) -> tuple[RowName, ...]:
    """Backbones in the order of their first records, each control below its own."""
    names = {
        record.backbone: RowName(
            backbone=record.backbone, control=record.control, tricks=record.tricks
        )
        for record in records
    }
    rows: dict[str, RowName] = {}
    for control in dict.fromkeys(row.control or row.backbone for row in names.values()):
        rows |= {row.backbone: row for row in names.values() if row.control == control}
        if control in names:
            rows[control] = names[control]
    return tuple(rows.values())
