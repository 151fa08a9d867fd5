"""The written forms of a table: markdown, CSV, JSON, and cells for the screen."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backbones.atomic import write_text_atomic
from eval.intervals import Interval
from eval.process import one_line
from eval.summary import TASK_OF_METRIC, Row, Score, Table
from eval.text import escape_cell, escape_markdown, in_one_line, no_formula

MISSING = "–"
_TITLES = {"top1": "top-1"}
_LONGEST_MESSAGE = 500


def write_tables(out: Path, table: Table, notes: Sequence[str]) -> tuple[Path, ...]:
    """Writes `table.md`, `table.csv` and `table.json` into `out`; gives their paths."""
    out.mkdir(parents=True, exist_ok=True)
    paths = tuple(out / f"table.{ending}" for ending in ("md", "csv", "json"))
    write_text_atomic(paths[0], to_markdown(table, notes))
    write_text_atomic(paths[1], to_csv(table))
    # ASCII: what would turn a terminal's writing around stands there as \u202e.
    write_text_atomic(paths[2], json.dumps(to_json(table), indent=2, allow_nan=False) + "\n")
    return paths


def to_json(table: Table) -> dict[str, Any]:
    """The contract's form; percent metrics in 0..100, null for what is missing."""
    return {
        "benchmark": table.benchmark,
        "baseline": table.baseline,
        "seeds": list(table.seeds),
        "rows": [
            {
                "backbone": row.name.backbone,
                "control": row.name.control,
                "tricks": list(row.name.tricks),
                "metrics": {name: _score_json(score) for name, score in row.metrics.items()},
                "cost": {name: _whole(value) for name, value in row.cost.items()},
                "problems": [
                    {
                        "task": problem.task,
                        "seed": problem.seed,
                        "status": problem.status,
                        "message": problem.message,
                    }
                    for problem in row.problems
                ],
            }
            for row in table.rows
        ],
    }


def to_csv(table: Table) -> str:
    """One line for each row; empty cells for what is missing, and none that begins a formula."""
    metrics = list(table.rows[0].metrics) if table.rows else list(TASK_OF_METRIC)
    bounds = ("_ci95_low", "_ci95_high")
    parts = ("", "_std", "_n", *bounds, "_delta", *(f"_delta{bound}" for bound in bounds))
    costs = ("parameters", "gmacs", "seconds", "peak_memory_mb")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [no_formula(f"{metric}{part}") for metric in metrics for part in parts]
    writer.writerow(["backbone", "control", "tricks", *columns, *costs, "problems"])
    for row in table.rows:
        numbers = [value for metric in metrics for value in _score_csv(row.metrics[metric])]
        names = (row.name.backbone, row.name.control or "", " ".join(row.name.tricks))
        writer.writerow(
            [
                *map(no_formula, names),
                *numbers,
                *(_whole(row.cost[name]) for name in costs),
                no_formula("; ".join(problem_lines(row))),
            ]
        )
    return text.getvalue()


def to_markdown(table: Table, notes: Sequence[str]) -> str:
    """The table with its notes below it, for a README."""
    header, rows = cells(table)
    shown = [[escape_cell(cell) for cell in line] for line in (header, *rows)]
    lines = [shown[0], ["---", *["---:"] * (len(header) - 1)], *shown[1:]]
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    below = "\n".join(f"- {note}" for note in notes)
    return f"# Transfer on {escape_markdown(table.benchmark)}\n\n{text}\n\n{below}\n"


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text: what a person reads.

    Columns of a fine-tuning task that was not asked for are left out.
    """
    shown = [
        name
        for name, task in TASK_OF_METRIC.items()
        if task == "classification" or task in table.tasks
    ]
    header = ["backbone"]
    for name in shown:
        header.append(_TITLES.get(name, name))
        if name != "top1":  # a control has no classifier to compare with
            header.append(f"Δ {name}")
    rows = []
    for row in table.rows:
        line = [row.name.backbone]
        for name in shown:
            score = row.metrics[name]
            line.append(_score_cell(row, name, len(table.seeds)))
            if name != "top1":
                line.append(_delta_cell(score, len(table.seeds)))
        rows.append([*line, *_cost_cells(row)])
    return [*header, "params", "GMACs", "time"], rows


def problem_lines(row: Row) -> list[str]:
    """`detection, seed 1: failed: out of memory` for each cell without a number."""
    return [
        f"{problem.task}, seed {problem.seed}: {problem.status}: {_clipped(problem.message)}"
        for problem in row.problems
    ]


def _clipped(message: str) -> str:
    text = in_one_line(one_line(message))
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]} …"


def duration(seconds: float) -> str:
    """7 -> `7s`; 72 -> `1m12s`; 3700 -> `1h02m`."""
    minutes, second = divmod(round(seconds), 60)
    if minutes >= 60:
        hours, minute = divmod(round(seconds / 60), 60)
        return f"{hours}h{minute:02d}m"
    return f"{minutes}m{second:02d}s" if minutes else f"{second}s"


def _score_cell(row: Row, metric: str, seeds: int) -> str:
    task = TASK_OF_METRIC[metric]
    statuses = [problem.status for problem in row.problems if problem.task == task]
    counts = {status: statuses.count(status) for status in ("diverged", "failed")}
    score = row.metrics[metric]
    if score is None:
        return ", ".join(status for status, count in counts.items() if count) or MISSING
    text = f"{score.value.mean:.1f}{_half_width(score.value)}"
    if score.value.n < seeds:
        named = [f"{count} {status}" for status, count in counts.items() if count]
        text += f" ({', '.join([f'{score.value.n} of {seeds} seeds', *named])})"
    return text


def _delta_cell(score: Score | None, seeds: int) -> str:
    if score is None or score.delta is None:
        return MISSING
    mean = round(score.delta.mean, 1) + 0.0  # no "-0.0"
    text = f"{mean:+.1f}{_half_width(score.delta)}"
    return text if score.delta.n >= seeds else f"{text} ({score.delta.n} of {seeds} seeds)"


def _half_width(value: Interval) -> str:
    return "" if value.ci95 is None else f" ± {(value.ci95[1] - value.ci95[0]) / 2:.1f}"


def _cost_cells(row: Row) -> list[str]:
    parameters, gmacs, seconds = (row.cost[name] for name in ("parameters", "gmacs", "seconds"))
    return [
        MISSING if parameters is None else f"{parameters / 1e6:.2f}M",
        MISSING if gmacs is None else f"{gmacs:.2f}",
        MISSING if seconds is None else duration(seconds),
    ]


def _score_json(score: Score | None) -> dict[str, Any] | None:
    if score is None:
        return None
    value, delta = score.value, score.delta
    return {
        "mean": value.mean,
        "std": value.std,
        "n": value.n,
        "ci95": None if value.ci95 is None else list(value.ci95),
        "delta": None if delta is None else delta.mean,
        "delta_ci95": None if delta is None or delta.ci95 is None else list(delta.ci95),
    }


def _score_csv(score: Score | None) -> list[float | None]:
    if score is None:
        return [None] * 8
    value, delta = score.value, score.delta
    bounds = value.ci95 or (None, None)
    difference = (None if delta is None else delta.mean, *((delta and delta.ci95) or (None, None)))
    return [value.mean, value.std, value.n, *bounds, *difference]


def _whole(value: float | None) -> float | None:
    """1500000.0 parameters are 1500000."""
    return int(value) if value is not None and value == int(value) else value
