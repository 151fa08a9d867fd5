"""The written forms of a table: markdown, CSV, JSON, TeX, and cells for the screen."""

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
from eval.summary import MORE_COLUMNS, TASK_OF_METRIC, Row, Score, Table
from eval.table_tex import to_tex
from eval.text import escape_cell, escape_markdown, in_one_line, no_formula

MISSING = "–"
TITLES = {
    "top1": "top-1",
    "tuned_top1": "tuned top-1",
    "macro_f1": "macro F1",
    "auc": "AUC",
    "tta_top1": "top-1 on views",
}
"""Of metrics that are not called by their names in a heading."""
_LONGEST_MESSAGE = 500
_NOT_TESTED = "not tested"
_IN_A_PAPER = ("top-1", "mAP", "mIoU", "tuned top-1", "macro F1", "AUC")


def write_tables(
    out: Path,
    table: Table,
    notes: Sequence[str],
    protocols: Sequence[str] = (),
    *,
    shown: Table | None = None,
) -> tuple[Path, ...]:
    """Writes `table.md`, `table.csv`, `table.json` and `table.tex` into `out`; gives their paths.

    notes: lines of markdown below the first. protocols: lines of plain text, below the last.
    shown: the same with the names that people read, for the first and the last.
    """
    out.mkdir(parents=True, exist_ok=True)
    # ASCII: what would turn a terminal's writing around stands there as \u202e.
    texts = {
        "md": to_markdown(shown or table, notes),
        "csv": to_csv(table),
        "json": json.dumps(to_json(table), indent=2, allow_nan=False) + "\n",
        "tex": _tex(shown or table, protocols),
    }
    paths = []
    for ending, text in texts.items():
        paths.append(out / f"table.{ending}")
        write_text_atomic(paths[-1], text)
    return tuple(paths)


def to_json(table: Table) -> dict[str, Any]:
    """The contract's form; percent metrics in 0..100, null for what is missing."""
    return {
        "benchmark": table.benchmark,
        "baseline": table.baseline,
        "seeds": list(table.seeds),
        "image_draws": table.image_draws,
        "rows": [
            {
                "backbone": row.name.backbone,
                "control": row.name.control,
                "compared_with": row.compared_with,
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
    parts = (
        *("", "_std", "_n", *bounds, "_delta", *(f"_delta{bound}" for bound in bounds)),
        *("_p_value", "_p_holm", "_verdict", "_decided_by", "_delta_by_image"),
        *(f"_delta_by_image{bound}" for bound in bounds),
        *("_delta_by_image_n", "_delta_by_image_p_value"),
    )
    names = ("backbone", "control", "compared_with", "tricks")
    costs = ("parameters", "gmacs", "seconds", "peak_memory_mb")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [no_formula(f"{metric}{part}") for metric in metrics for part in parts]
    writer.writerow([*names, *columns, *costs, "problems"])
    for row in table.rows:
        numbers = [value for metric in metrics for value in _score_csv(row.metrics[metric])]
        name = row.name
        said = (name.backbone, name.control, row.compared_with, " ".join(name.tricks))
        writer.writerow(
            [
                *(no_formula(text or "") for text in said),
                *numbers,
                *(_whole(row.cost[name]) for name in costs),
                no_formula("; ".join(problem_lines(row))),
            ]
        )
    return text.getvalue()


def to_markdown(table: Table, notes: Sequence[str]) -> str:
    """The table, what its differences rest on, and its notes, for a README."""
    header, rows = differences(table)
    below = "\n".join(f"- {note}" for note in notes)
    parts = [main_markdown(table), *([_in_markdown(header, rows, texts=2)] if rows else []), below]
    return "\n\n".join(parts) + "\n"


def main_markdown(table: Table) -> str:
    """The table alone, below its heading."""
    return f"# {escape_markdown(title_of(table))}\n\n{_in_markdown(*cells(table))}"


def title_of(table: Table) -> str:
    """`Transfer on mini`, or `Fine-tuning on mini` where one's own images are all there is."""
    what = "Fine-tuning" if table.tasks == ("finetune",) else "Transfer"
    return f"{what} on {table.benchmark}"


def _in_markdown(header: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """texts: how many columns are no numbers, from the left."""
    shown = [[escape_cell(cell) for cell in line] for line in (header, *rows)]
    rule = [*["---"] * texts, *["---:"] * (len(header) - texts)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (shown[0], rule, *shown[1:]))


def cells(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text: what a person reads.

    Columns of a fine-tuning task that was not asked for are left out, as is what no row has of
    those that stand without a difference. A difference bears a star, or
    "no evidence" or "not tested", and "by image" where the images decide and not the seeds.
    """
    shown = _shown(table)
    # A control has no classifier to compare with.
    compared = [name for name in shown if name != "top1" or table.baseline_chosen]
    more = [name for name in MORE_COLUMNS if any(row.metrics.get(name) for row in table.rows)]
    header = ["backbone"]
    for name in (*shown, *more):
        header.append(TITLES.get(name, name))
        if name in compared:
            header.append(f"Δ {TITLES.get(name, name)}")
    rows = []
    for row in table.rows:
        line = [row.name.backbone]
        for name in (*shown, *more):
            score = row.metrics[name]
            line.append(_score_cell(row, name, len(table.seeds)))
            if name in compared:
                line.append(_delta_cell(score, len(table.seeds)))
        rows.append([*line, *_cost_cells(row)])
    return [*header, "params", "GMACs", "time"], rows


def differences(table: Table) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text of every difference to a control, and of what it rests on."""
    header = ["backbone", "metric", "Δ by seed", "95%", "n", "p", "Δ by image", "95%", "p"]
    rows = []
    for row in table.rows:
        for name in _shown(table):
            score = row.metrics[name]
            if score is None or score.delta is None:
                continue
            image = score.delta_by_image
            rows.append(
                [
                    *(row.name.backbone, TITLES.get(name, name)),
                    *(_signed(score.delta.mean), _bounds(score.delta.ci95), str(score.delta.n)),
                    _probability(score.p_value),
                    *(MISSING if image is None else _signed(image.mean),),
                    _bounds(None if image is None else image.ci95),
                    _probability(None if image is None else image.p_value),
                    *(
                        _probability(score.p_holm),
                        f"{score.verdict or _NOT_TESTED}{_by_image(score)}",
                    ),
                ]
            )
    return [*header, "p, Holm", "verdict"], rows


def _tex(table: Table, protocols: Sequence[str]) -> str:
    """For a paper: the scores of what was asked for; what they cost and aAcc lie beside it."""
    header, rows = cells(table)
    kept = [
        place
        for place, title in enumerate(header)
        if place == 0
        or (title.removeprefix("Δ ") in _IN_A_PAPER and any(row[place] != MISSING for row in rows))
    ]
    seeds = ", ".join(map(str, table.seeds))
    return to_tex(
        [header[place] for place in kept],
        [[row[place] for place in kept] for row in rows],
        caption=f"{title_of(table)}, seed{'s' * (len(table.seeds) > 1)} {seeds}.",
        notes=[*reading(table), *(f"{line}." for line in protocols)],
    )


def reading(table: Table) -> list[str]:
    """Sentences of plain text: how the cells are read."""
    seeds = ", ".join(map(str, table.seeds))
    scores = [score for row in table.rows for score in row.metrics.values() if score is not None]
    shown = [score for row in table.rows for name in _shown(table) if (score := row.metrics[name])]
    one = len(table.seeds) < 2
    sentences = [
        f"Seed {seeds}: one seed, so no interval."
        if one
        else f"Seeds {seeds}: mean ± half of Student's 95% interval."
    ]
    if any(score.delta is not None for score in shown):
        paired = " of the same seed" if one else ", paired by seed"
        sentences.append(f"Δ: minus {table.reference}{paired}.")
    if lacking := _baseline_lacks(table):
        reference = f"{table.reference[0].upper()}{table.reference[1:]}"
        sentences.append(f"{reference} has no {', no '.join(lacking)}: no Δ there.")
    if any(score.delta is not None for score in scores):
        sentences.append(
            f"*: better or worse than {table.reference}, p < 0.05 after Holm's correction over the "
            "rows; no evidence: not so."
        )
    if any(score.untested for score in shown):
        sentences.append("Not tested: one seed, and nothing by image.")
    if any(score.decided_by == "images" for score in scores):
        sentences.append("By image: tested over the test images, since the seeds cannot tell.")
    return sentences


def _baseline_lacks(table: Table) -> list[str]:
    """Metrics that other rows have, and the baseline that was chosen has not."""
    if not table.baseline_chosen:
        return []
    chosen = next(row for row in table.rows if row.name.backbone == table.baseline)
    return [
        TITLES.get(name, name)
        for name in _shown(table)
        if chosen.metrics[name] is None and any(row.metrics[name] for row in table.rows)
    ]


def problem_lines(row: Row) -> list[str]:
    """`detection, seed 1: failed: out of memory` for the cells without a number.

    Tasks of one seed that fail for one reason stand in one line.
    """
    tasks: dict[tuple[int, str, str], list[str]] = {}
    for problem in row.problems:
        same = (problem.seed, problem.status, _clipped(problem.message))
        tasks.setdefault(same, []).append(problem.task)
    return [
        f"{', '.join(named)}, seed {seed}: {status}: {message}"
        for (seed, status, message), named in tasks.items()
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
    task = TASK_OF_METRIC.get(metric) or MORE_COLUMNS[metric]
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
    mark = "*" if score.verdict in ("better", "worse") else score.verdict or _NOT_TESTED
    text = f"{_signed(score.delta.mean)}{_half_width(score.delta)} {mark}{_by_image(score)}"
    return text if score.delta.n >= seeds else f"{text} ({score.delta.n} of {seeds} seeds)"


def _by_image(score: Score) -> str:
    return " by image" if score.decided_by == "images" else ""


def _shown(table: Table) -> list[str]:
    """The metrics that a person reads: pretraining's too, but where one's own images are all that
    was asked of backbones that came as they are."""
    measured = {name for row in table.rows for name, score in row.metrics.items() if score}
    alone = table.tasks == ("finetune",)
    return [
        name
        for name, task in TASK_OF_METRIC.items()
        if task in table.tasks
        or (task == "classification" and not (alone and name not in measured))
    ]


def _signed(value: float) -> str:
    return f"{round(value, 1) + 0.0:+.1f}"  # no "-0.0"


def _bounds(bounds: tuple[float, float] | None) -> str:
    return MISSING if bounds is None else f"{_signed(bounds[0])} to {_signed(bounds[1])}"


def _probability(value: float | None) -> str:
    if value is None:
        return MISSING
    return f"{value:.3f}" if value >= 0.0005 else "<0.001"


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
    value, delta, image = score.value, score.delta, score.delta_by_image
    found = {
        "mean": value.mean,
        "std": value.std,
        "n": value.n,
        "ci95": None if value.ci95 is None else list(value.ci95),
        "delta": None if delta is None else delta.mean,
        "delta_ci95": None if delta is None or delta.ci95 is None else list(delta.ci95),
        "delta_std": None if delta is None else delta.std,
        "delta_n": None if delta is None else delta.n,
        "p_value": score.p_value,
        "p_holm": score.p_holm,
        "verdict": score.verdict,
        "decided_by": score.decided_by,
        "delta_by_image": None
        if image is None
        else {
            "mean": image.mean,
            "ci95": list(image.ci95),
            "n_images": image.n_images,
            "p_value": image.p_value,
        },
    }
    return dict(_without_negative_zero(found))


def _without_negative_zero(found: Any) -> Any:
    """Of plain JSON: a bootstrap of equal predictions has bounds of 0.0 and -0.0."""
    if isinstance(found, dict):
        return {name: _without_negative_zero(value) for name, value in found.items()}
    if isinstance(found, list):
        return [_without_negative_zero(value) for value in found]
    return found + 0.0 if isinstance(found, float) else found


def _score_csv(score: Score | None) -> list[float | str | None]:
    if score is None:
        return [None] * 17
    value, delta, image = score.value, score.delta, score.delta_by_image
    nothing = (None, None)
    found = [
        *(value.mean, value.std, value.n, *(value.ci95 or nothing)),
        *(None if delta is None else delta.mean, *((delta and delta.ci95) or nothing)),
        *(score.p_value, score.p_holm, score.verdict, score.decided_by),
        *(
            [None] * 5
            if image is None
            else [image.mean, *image.ci95, image.n_images, image.p_value]
        ),
    ]
    return list(_without_negative_zero(found))


def _whole(value: float | None) -> float | None:
    """1500000.0 parameters are 1500000."""
    return int(value) if value is not None and value == int(value) else value
