"""The main table of the page, and what lies behind each of its numbers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.beside_published import beside_published
from eval.jobs import TASK_FACTS
from eval.records import Record, TaskName, canonical
from eval.sections.material import Material
from eval.sections.section import Grid, texts
from eval.significance import explain_no_evidence
from eval.summary import MORE_COLUMNS, TASK_OF_METRIC, Row
from eval.tables import MISSING, TITLES, cells, duration, to_json

_METRIC_OF_TITLE = {title: name for name, title in TITLES.items()}
_COST_OF_TITLE = {"params": "parameters", "GMACs": "gmacs", "time": "seconds"}
_LEADING_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_PERCENT = "percent"
_MOST_NAMES = 4


@dataclass(frozen=True, kw_only=True)
class Number:
    """A cell. behind: the key of what lies behind it; empty where there is nothing."""

    text: str
    sort: float | None
    behind: str = ""


@dataclass(frozen=True, kw_only=True)
class NumberRow:
    """found_by: what the filter looks at."""

    name: str
    found_by: str
    numbers: tuple[Number, ...]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """title: the task and the backbones that it is behind. lines: path and value of everything
    that it holds."""

    key: str
    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True)
class Behind:
    """One backbone in one task: what was measured with each seed, how, where and by which command.

    protocols: one, or several where the seeds were not computed in one way.
    """

    key: str
    title: str
    grids: tuple[Grid, ...]
    facts: tuple[tuple[str, str], ...]
    protocols: tuple[Protocol, ...]


@dataclass(frozen=True, kw_only=True)
class Numbers:
    """The main table."""

    header: tuple[str, ...]
    rows: tuple[NumberRow, ...]
    behind: tuple[Behind, ...]
    protocols: tuple[Protocol, ...]


def make_numbers(material: Material) -> Numbers:
    """The rows in the table's order; every protocol once, whatever number of cells rests on it."""
    table = material.table
    header, lines = cells(table)
    scores = to_json(table)["rows"]
    by_cell: dict[tuple[str, TaskName], list[Record]] = {}
    for record in sorted(material.records, key=lambda record: record.seed):
        by_cell.setdefault((record.backbone, record.task), []).append(record)
    tested = _tested(scores)
    by_row: dict[str, list[Record]] = {}
    for record in material.records:
        by_row.setdefault(record.backbone, []).append(record)
    order = {row.name.backbone: place for place, row in enumerate(table.rows)}
    protocols = _all_protocols(
        sorted(
            (record for records in by_cell.values() for record in records),
            key=lambda r: (order.get(r.backbone, len(order)), list(TASK_FACTS).index(r.task)),
        )
    )
    behind: dict[tuple[int, TaskName], Behind] = {}
    measured = {record.task for record in material.records}
    tasks = [task for task in TASK_FACTS if task in measured]
    rows = []
    for place, (row, line, known) in enumerate(zip(table.rows, lines, scores, strict=True)):
        for task in tasks:
            if records := by_cell.get((row.name.backbone, task)):
                behind[place, task] = Behind(
                    key=f"behind-{place}-{task}",
                    title=f"{row.name.backbone}: {TASK_FACTS[task].title}",
                    grids=(
                        _scores_grid(task, known["metrics"], records, table.reference, tested),
                        _seeds_grid(records, material.files),
                    ),
                    facts=(*_facts(row, records), *_published(table.benchmark, row, task, by_row)),
                    protocols=tuple(dict.fromkeys(protocols[record.key] for record in records)),
                )
        numbers = []
        for title, text in zip(header[1:], line[1:], strict=True):
            of = _task_of(title)
            found = behind.get((place, of)) if of is not None else None
            shown = found is not None and text != MISSING
            numbers.append(
                Number(
                    text=text,
                    sort=_sort_key(title, text, row),
                    behind=found.key if found is not None and shown else "",
                )
            )
        rows.append(
            NumberRow(
                name=line[0],
                found_by=" ".join((row.name.backbone, *row.name.tricks)).lower(),
                numbers=tuple(numbers),
            )
        )
    return Numbers(
        header=tuple(header),
        rows=tuple(rows),
        behind=tuple(behind.values()),
        protocols=tuple(dict.fromkeys(protocols.values())),
    )


def _metric_of(title: str) -> str:
    name = title.removeprefix("Δ ")
    return _METRIC_OF_TITLE.get(name, name)


def _task_of(title: str) -> TaskName | None:
    metric = _metric_of(title)
    return TASK_OF_METRIC.get(metric) or MORE_COLUMNS.get(metric)


def _sort_key(title: str, text: str, row: Row) -> float | None:
    if title in _COST_OF_TITLE:
        return row.cost[_COST_OF_TITLE[title]]
    if (metric := _metric_of(title)) in row.metrics:
        score = row.metrics[metric]
        if score is None:
            return None
        interval = score.delta if title.startswith("Δ ") else score.value
        return None if interval is None else interval.mean
    number = _LEADING_NUMBER.match(text)
    return float(number.group()) if number else None


def _tested(rows: Sequence[Mapping[str, Any]]) -> Counter[str]:
    """metric -> how many rows its p-values are corrected over"""
    return Counter(
        name
        for row in rows
        for name, score in row["metrics"].items()
        if score is not None and score["p_holm"] is not None
    )


def _scores_grid(
    task: TaskName,
    scores: Mapping[str, Any],
    records: Sequence[Record],
    reference: str,
    tested: Mapping[str, int],
) -> Grid:
    """One column for each metric that the task measured."""
    names = _names(records)
    known = {name: score for name in names if (score := scores.get(name)) is not None}
    if not known:
        return Grid(caption=f"No number of {TASK_FACTS[task].title}", header=(), rows=())
    columns = [
        list(_score_lines(score, reference, tested[name], percent=not _unit(name, records)))
        for name, score in known.items()
    ]
    rows = [
        texts((lines[0][0], *(said for _, said in lines)))
        for lines in zip(*columns, strict=True)
        if any(said != MISSING for _, said in lines)
    ]
    header = ("over the seeds", *(f"{name}{_unit(name, records)}" for name in known))
    return Grid(caption="Over the seeds", header=header, rows=tuple(rows))


def _score_lines(
    score: Mapping[str, Any], reference: str, tested: int, *, percent: bool
) -> Iterable[tuple[str, str]]:
    """In the order of the table's columns; the same names for every score."""
    image = score["delta_by_image"] or dict.fromkeys(("mean", "ci95", "n_images", "p_value"))
    yield "mean", _plain(score["mean"])
    yield "standard deviation", _plain(score["std"])
    yield "seeds", str(score["n"])
    yield "95% interval", _bounds_of_percent(score["ci95"]) if percent else _bounds(score["ci95"])
    yield f"Δ to {reference}", _plain(score["delta"], signed=True)
    yield "95% interval of Δ by seed", _bounds(score["delta_ci95"])
    yield "p by seed", _probability(score["p_value"])
    yield "Δ by image", _plain(image["mean"], signed=True)
    yield "95% interval of Δ by image", _bounds(image["ci95"])
    yield "images", MISSING if image["n_images"] is None else str(image["n_images"])
    yield "p by image", _probability(image["p_value"])
    yield "p after Holm's correction", _probability(score["p_holm"])
    decided = f", by {score['decided_by']}" if score["decided_by"] else ""
    deciding = image["ci95"] if score["decided_by"] == "images" else score["delta_ci95"]
    why = explain_no_evidence(deciding, score["verdict"], score["p_holm"], tested)
    said = f"{score['verdict']}{decided}{': ' * bool(why)}{why}"
    untested = MISSING if score["delta"] is None else "not tested: one seed, and nothing by image"
    yield "verdict", said if score["verdict"] else untested


def _unit(name: str, records: Sequence[Record]) -> str:
    units = {record.metrics[name].unit for record in records if name in record.metrics}
    return "" if units == {_PERCENT} else f" [{', '.join(sorted(units))}]"


def _names(records: Sequence[Record]) -> list[str]:
    """Of the metrics, the table's before the others."""
    names = dict.fromkeys(name for record in records for name in record.metrics)
    return sorted(names, key=lambda name: name not in TASK_OF_METRIC)


def _seeds_grid(records: Sequence[Record], files: Mapping[str, str]) -> Grid:
    names = _names(records)
    rows = []
    for record in records:
        found = [record.metrics.get(name) for name in names]
        n = sorted({metric.n for metric in found if metric is not None})
        rows.append(
            texts(
                (
                    str(record.seed),
                    *(_plain(None if metric is None else metric.value) for metric in found),
                    ", ".join(map(str, n)) or MISSING,
                    record.status,
                    files.get(record.key, record.file_name),
                )
            )
        )
    header = ("seed", *names, "n", "status", "record")
    return Grid(caption="Each seed", header=header, rows=tuple(rows))


def _facts(row: Row, records: Sequence[Record]) -> Iterable[tuple[str, str]]:
    if row.name.control is not None:
        yield "Control", row.name.control
    if row.name.tricks:
        yield "Tricks", ", ".join(row.name.tricks)
    for record in records:
        if record.message:
            yield f"Seed {record.seed}, {record.status}", record.message
        for note in record.notes:
            yield f"Seed {record.seed}, note", note
    yield "Time", _each(records, lambda cost: duration(cost["seconds"]), "seconds")
    yield "Peak memory", _each(records, lambda c: f"{c['peak_memory_mb']:.0f} MB", "peak_memory_mb")
    for title, name in (("Machine", "cpu"), ("Accelerator", "accelerator"), ("Command", "command")):
        if found := dict.fromkeys(r.environment[name] for r in records if name in r.environment):
            yield title, "\n".join(found)
    yield "Finished", ", ".join(record.finished or MISSING for record in records)
    yield "Weights", ", ".join((record.weights_sha256 or MISSING)[:16] for record in records)
    yield "Evidence", ", ".join((record.evidence_sha256 or MISSING)[:16] for record in records)


def _published(
    benchmark: str, row: Row, task: TaskName, by_row: Mapping[str, list[Record]]
) -> Iterable[tuple[str, str]]:
    """What a paper gives for the same; only on the benchmark that it was published for."""
    records = by_row[row.name.backbone]
    measured = {name for record in records if record.task == task for name in record.metrics}
    for metric in sorted(measured):
        for found in beside_published(benchmark, row.name.backbone, metric, records):
            yield f"Published {metric}", found.line


def _each(records: Sequence[Record], say: Any, name: str) -> str:
    return ", ".join(say(r.cost) if name in r.cost else MISSING for r in records)


def _all_protocols(records: Sequence[Record]) -> dict[str, Protocol]:
    """Key of each record -> its protocol, each made once and numbered in the records' order."""
    of_text: dict[str, list[Record]] = {}
    for record in records:
        of_text.setdefault(canonical([record.task, record.protocol]), []).append(record)
    found: dict[str, Protocol] = {}
    for number, same in enumerate(of_text.values(), 1):
        names = list(dict.fromkeys(record.backbone for record in same))
        more = len(names) - _MOST_NAMES
        of = ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
        protocol = Protocol(
            key=f"protocol-{number}",
            title=f"Protocol {number}: {TASK_FACTS[same[0].task].title} of {of}",
            lines=tuple(_flat(same[0].protocol, "")),
        )
        found |= {record.key: protocol for record in same}
    return found


def _flat(value: Any, path: str) -> Iterable[tuple[str, str]]:
    """`budget.image_size`, `128, 128` and the like, sorted by the paths."""
    if isinstance(value, dict) and value:
        for key in sorted(value):
            yield from _flat(value[key], f"{path}.{key}" if path else key)
    elif isinstance(value, list) and not any(isinstance(item, dict | list) for item in value):
        yield path, ", ".join(map(_said, value)) or "none"
    elif isinstance(value, dict | list):
        yield path, canonical(value) if value else "none"
    else:
        yield path, _said(value)


def _said(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(value: float | None, *, signed: bool = False) -> str:
    if value is None:
        return MISSING
    rounded = round(value, 2) + 0.0  # no "-0.0"
    return f"{rounded:+.2f}" if signed else f"{rounded:.2f}"


def _bounds(bounds: Sequence[float] | None) -> str:
    return MISSING if bounds is None else f"{_plain(bounds[0])} to {_plain(bounds[1])}"


def _bounds_of_percent(bounds: Sequence[float] | None) -> str:
    """Cut where a percentage ends, and says so: Student's interval does not know."""
    if bounds is None:
        return MISSING
    cut = max(0.0, bounds[0]), min(100.0, bounds[1])
    ends = " and ".join(
        f"{end:g}"
        for end, is_cut in zip(cut, (bounds[0] < 0, bounds[1] > 100), strict=True)
        if is_cut
    )
    return f"{_bounds(cut)}{f' (cut at {ends})' if ends else ''}"


def _probability(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:.3f}" if value >= 0.001 else "< 0.001"
