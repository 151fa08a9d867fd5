"""What every section is made from: the records of one table, and what their tasks saw."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from engine.evidence import Evidence
from eval.omissions import Omission
from eval.records import Record, TaskName
from eval.summary import Table

if TYPE_CHECKING:
    from eval.image_bootstrap import ImageBootstrap
    from eval.tuned_classifiers import TunedClassifier


@dataclass(frozen=True, kw_only=True)
class Material:
    """records: at most one for each (backbone, task, seed), all of them comparable with each other.

    evidence: of a record; None where there is none, or none that can be read. It may read a file at
    each call: a section asks once for each record, and keeps what it computes, not what it read.
    omissions: files and records that are not in the table. origins: the OUT that each record is
    from, by its key; empty where there is only one. bootstrap: what the table's differences by
    image are from, which knows its draws already; None where nothing was kept to draw from.
    teachers: pretrainings of teachers, which are a part of what their students cost. files: names
    of the records' files, by key, where the names of their rows are shortened. classifiers: of
    fine-tunings, by the record's key, where they are still there.
    """

    table: Table
    records: tuple[Record, ...]
    evidence: Callable[[Record], Evidence | None]
    omissions: tuple[Omission, ...] = ()
    origins: Mapping[str, Path] = field(default_factory=dict)
    bootstrap: ImageBootstrap | None = None
    teachers: tuple[Record, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    classifiers: Mapping[str, TunedClassifier] = field(default_factory=dict)
    probes: tuple[Record, ...] = ()

    def of_task(self, task: str) -> tuple[Record, ...]:
        """Those with numbers, in the order of the table's rows and then of the seeds."""
        order = {row.name.backbone: place for place, row in enumerate(self.table.rows)}
        found = [r for r in self.records if r.task == task and r.status == "ok"]
        return tuple(sorted(found, key=lambda r: (order.get(r.backbone, len(order)), r.seed)))

    def reference_row(self, task: TaskName, backbone: str | None = None) -> str | None:
        """What `backbone` is held against in this task; of the rows that have numbers of it.

        The baseline that was chosen, as in the table, and nothing in its place where it has no such
        numbers. Else the control of `backbone`; else, among the rows that share this control, the
        one of the fewest tricks. It may be `backbone` itself. backbone: by default the first row
        with numbers, for a section that holds all rows against one. None where no row of that
        control has any.
        """
        measured = {r.backbone for r in self.records if r.task == task and r.status == "ok"}
        names = [row.name for row in self.table.rows if row.name.backbone in measured]
        own = next((n for n in names if backbone in (None, n.backbone)), None)
        if own is None:
            return None
        if self.table.baseline_chosen:
            return self.table.baseline if self.table.baseline in measured else None
        controls = {row.name.control for row in self.table.rows}
        control = own.backbone if own.backbone in controls else own.control
        if control in measured:
            return control
        family = [name for name in names if name.control == own.control]
        return min(family, key=lambda name: len(name.tricks)).backbone
