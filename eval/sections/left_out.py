"""What is not in the table, and why: files, other protocols, cells without a number."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from eval.jobs import TRANSFERS
from eval.records import TaskName
from eval.sections.material import Material
from eval.sections.section import Grid, Section, texts
from eval.specs import expected_tasks
from eval.summary import TASK_OF_METRIC
from eval.tables import problem_lines
from eval.text import in_one_line

_MOST_ROWS = 200


def section(material: Material) -> Section:
    """Always there: that nothing was left out is worth knowing, too."""
    omitted, incomplete = _omitted(material), _incomplete(material)
    grids = []
    for caption, header, rows in (
        ("Files and records that are not in the table", ("what", "why"), omitted),
        ("Cells without a number, or with fewer seeds", ("backbone", "what"), incomplete),
        ("Where the records are from", ("directory", "records"), _origins(material)),
    ):
        if rows:
            more = len(rows) - _MOST_ROWS
            notes = (f"{more} more are not shown.",) if more > 0 else ()
            shown = tuple(texts(row) for row in rows[:_MOST_ROWS])
            grids.append(Grid(caption=caption, header=header, rows=shown, notes=notes))
    count = len(omitted)
    told = f"Left out: {count} {'file or group' if count == 1 else 'files or groups'} of records."
    lead = (
        f"{told if count else 'Nothing that was read is left out.'} A cell without a number is a "
        "dash, a diverged run is in no mean, and a mean over fewer seeds than asked for says so."
        if count or incomplete
        else "Everything that was read stands in the table, and every cell has its number."
    )
    return Section(
        key="left-out",
        title="What is not in the table",
        lead=lead,
        blocks=tuple(grids),
        left_out=tuple(_not_drawn(material)),
    )


def _not_drawn(material: Material) -> Iterator[str]:
    """Why evidence could not tell two rows apart that only other sections compare; the table's own
    are among its notes."""
    if material.bootstrap is not None:
        for name, why in material.bootstrap.problems.items():
            if (said := f"{name}: {why}") not in material.table.remarks:
                yield f"By image: {in_one_line(said)}."


def _origins(material: Material) -> list[tuple[str, str]]:
    """Which backbones and seeds of each task come from which directory, where there are several."""
    seeds: dict[tuple[Path, str, str], list[int]] = {}
    for record in material.records:
        if (folder := material.origins.get(record.key)) is not None:
            seeds.setdefault((folder, record.backbone, record.task), []).append(record.seed)
    return [
        (str(folder), f"{backbone}, {task}: seed{'s' * (len(of) > 1)} {_listed(of)}")
        for (folder, backbone, task), of in sorted(seeds.items())
    ]


def _listed(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _omitted(material: Material) -> list[tuple[str, str]]:
    return [(omission.what, omission.why) for omission in material.omissions]


def _incomplete(material: Material) -> list[tuple[str, str]]:
    """Diverged and failed runs, seeds that were not run, metrics that a record does not hold."""
    table = material.table
    problems = [(r.name.backbone, line) for r in table.rows for line in problem_lines(r)]
    return problems + list(_missing(material))


def _missing(material: Material) -> Iterator[tuple[str, str]]:
    by_cell = {(r.backbone, r.task, r.seed): r for r in material.records}
    tasks: list[TaskName] = [task for task in TRANSFERS if task in material.table.tasks]
    for row in material.table.rows:
        name = row.name.backbone
        for task in expected_tasks(name, tasks):
            metrics = [metric for metric, of in TASK_OF_METRIC.items() if of == task]
            not_run = []
            for seed in material.table.seeds:
                record = by_cell.get((name, task, seed))
                if record is None:
                    not_run.append(str(seed))
                elif record.status == "ok":
                    for metric in metrics:
                        if (m := record.metrics.get(metric)) is None or m.value is None:
                            yield name, f"{task}, seed {seed}: its record holds no {metric}"
            if not_run:
                plural = "s" if len(not_run) > 1 else ""
                yield name, f"{task}: no record of seed{plural} {', '.join(not_run)}"
