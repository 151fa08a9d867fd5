"""From records to the numbers of a table: means over seeds, differences to the control, cost.

Pure functions: the same records give the same table, wherever and whenever.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eval.intervals import Interval, interval, paired_difference
from eval.records import Record, Status, TaskName

TASK_OF_METRIC: dict[str, TaskName] = {
    "top1": "classification",
    "mAP": "detection",
    "mIoU": "segmentation",
    "aAcc": "segmentation",
}
"""The columns of every table, and the task that each is measured by."""

_FINETUNING: tuple[TaskName, ...] = ("detection", "segmentation")


@dataclass(frozen=True, kw_only=True)
class RowName:
    """One row. control: the row that its differences are to; None for a control itself."""

    backbone: str
    control: str | None
    tricks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one row over seeds; delta: minus the control's, paired by seed."""

    value: Interval
    delta: Interval | None


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A cell without a number: which, and why."""

    task: TaskName
    seed: int
    status: Status
    message: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """metrics: None where nothing was measured. cost: None where it is not known."""

    name: RowName
    metrics: dict[str, Score | None]
    cost: dict[str, float | None]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """baseline: the control of all rows, None where there are several. seeds: those asked for."""

    benchmark: str
    baseline: str | None
    tasks: tuple[TaskName, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


def make_table(
    records: Iterable[Record],
    *,
    benchmark: str,
    rows: Sequence[RowName],
    seeds: Sequence[int],
    tasks: Sequence[TaskName],
) -> Table:
    """The table of `rows` in their order, out of at most one record per (row, task, seed)."""
    by_row: dict[str, list[Record]] = {row.backbone: [] for row in rows}
    for record in records:
        if record.backbone in by_row and record.seed in seeds:
            by_row[record.backbone].append(record)
    found = {name for row in by_row.values() for record in row for name in record.metrics}
    names = [*TASK_OF_METRIC, *sorted(found - set(TASK_OF_METRIC))]
    controls = dict.fromkeys(row.control or row.backbone for row in rows)
    return Table(
        benchmark=benchmark,
        baseline=next(iter(controls)) if len(controls) == 1 else None,
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        rows=tuple(_row(name, by_row, names, tasks) for name in rows),
    )


def _row(
    name: RowName,
    by_row: dict[str, list[Record]],
    metrics: Sequence[str],
    tasks: Sequence[TaskName],
) -> Row:
    records = by_row[name.backbone]
    control = by_row.get(name.control, []) if name.control is not None else []
    return Row(
        name=name,
        metrics={metric: _score(metric, records, control) for metric in metrics},
        cost=_cost(records, tasks),
        problems=tuple(
            Problem(
                task=record.task,
                seed=record.seed,
                status=record.status,
                message=record.message or "the loss is no number any more",
            )
            for record in sorted(records, key=lambda record: (record.task, record.seed))
            if record.status != "ok"
        ),
    )


def _score(metric: str, records: Sequence[Record], control: Sequence[Record]) -> Score | None:
    values = _values(metric, records)
    value = interval([values[seed] for seed in sorted(values)])
    if value is None:
        return None
    return Score(value=value, delta=paired_difference(values, _values(metric, control)))


def _values(metric: str, records: Sequence[Record]) -> dict[int, float]:
    """seed -> value; what has not been measured is left out, and never counts as zero."""
    return {
        record.seed: record.metrics[metric].value  # type: ignore[misc]
        for record in records
        if record.status == "ok"
        and metric in record.metrics
        and record.metrics[metric].value is not None
    }


def _cost(records: Sequence[Record], tasks: Sequence[TaskName]) -> dict[str, float | None]:
    """parameters, gmacs: of the backbone. seconds: of pretraining and fine-tunings together, mean
    over the seeds whose chain is whole. peak_memory_mb: the largest of all."""

    def first(key: str) -> float | None:
        return next((record.cost[key] for record in records if key in record.cost), None)

    chains = []
    for seed in sorted({record.seed for record in records}):
        chain = {record.task: record for record in records if record.seed == seed}
        whole = all(task in chain for task in tasks if task in _FINETUNING)
        if whole and all("seconds" in record.cost for record in chain.values()):
            chains.append(sum(record.cost["seconds"] for record in chain.values()))
    seconds = interval(chains)
    peaks = [r.cost["peak_memory_mb"] for r in records if "peak_memory_mb" in r.cost]
    return {
        "parameters": first("backbone_parameters"),
        "gmacs": first("backbone_gmacs"),
        "gmacs_image_size": first("backbone_gmacs_image_size"),
        "seconds": None if seconds is None else seconds.mean,
        "peak_memory_mb": max(peaks, default=None),
    }
