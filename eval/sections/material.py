"""What every section is made from: the records of one table, and what their tasks saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.evidence import Evidence
from eval.omissions import Omission
from eval.records import Record
from eval.summary import Table


@dataclass(frozen=True, kw_only=True)
class Material:
    """records: at most one for each (backbone, task, seed), all of them comparable with each other.

    evidence: of a record; None where there is none, or none that can be read. It may read a file at
    each call: a section asks once for each record, and keeps what it computes, not what it read.
    omissions: files and records that are not in the table. origins: the OUT that each record is
    from, by its key; empty where there is only one.
    """

    table: Table
    records: tuple[Record, ...]
    evidence: Callable[[Record], Evidence | None]
    omissions: tuple[Omission, ...] = ()
    origins: Mapping[str, Path] = field(default_factory=dict)

    def of_task(self, task: str) -> tuple[Record, ...]:
        """Those with numbers, in the order of the table's rows and then of the seeds."""
        order = {row.name.backbone: place for place, row in enumerate(self.table.rows)}
        found = [r for r in self.records if r.task == task and r.status == "ok"]
        return tuple(sorted(found, key=lambda r: (order.get(r.backbone, len(order)), r.seed)))
