"""What stands below a table: how the numbers were measured, in short, out of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from eval.recording import ONLY_KNOWN_AFTER
from eval.records import Record, TaskName, canonical
from eval.summary import TASK_OF_METRIC, Table
from eval.tables import problem_lines, reading
from eval.text import escape_markdown, in_one_line

_TITLES: dict[TaskName, str] = {
    "classification": "Pretraining",
    "detection": "Detection",
    "segmentation": "Segmentation",
    "probes": "Probes",
    "robustness": "Robustness",
    "speed": "Speed",
}
_MOST_REMARKS = 20
_MODELS = ("detector", "segmentor")
_BUDGET = {
    "image_size": "image size {}",
    "shrink_to": "training images shrunk to {}",
    "crop_size": "crop {}",
    "iterations": "{} iterations",
    "batch_size": "batch {}",
    "learning_rate": "learning rate {}",
    "output_stride": "output stride {}",
    "frozen_stages": "frozen stages {}",
    "norm_eval": "norm_eval {}",
    "epoch_scale": "the recipe's epochs x {}",
    "batch_size_scale": "batch size x {}",
    "learning_rate_scale": "learning rate x {}",
}


def make_notes(table: Table, records: Sequence[Record]) -> list[str]:
    """Lines of markdown: intervals, protocols, what is missing and why, machine, date, command."""
    used = [record for record in records if record.benchmark == table.benchmark]
    notes = [escape_markdown(" ".join(reading(table))), *_evidence_notes(table)]
    notes.append("Time: pretraining and fine-tunings; a teacher's is not in it.")
    notes += [f"{escape_markdown(line)}." for line in protocol_lines(table, records)]
    for row in table.rows:
        size = row.cost.get("gmacs_image_size")
        if size is not None and size != 224:
            notes.append(f"GMACs of {escape_markdown(row.name.backbone)}: at {size:g} px, not 224.")
    notes += [
        f"{escape_markdown(row.name.backbone)}, {escape_markdown(line)}"
        for row in table.rows
        for line in problem_lines(row)
    ]
    notes += _computed_differently(used)
    notes += _unique(
        f"{escape_markdown(f'{record.backbone}, seed {record.seed}: {note}'.rstrip('.'))}."
        for record in used
        for note in record.notes
    )
    machines = _unique(_machine(record.environment) for record in used)
    versions = _unique(_versions(record.environment) for record in used)
    if machines:
        notes.append(f"Machine: {escape_markdown('; '.join(machines))}.")
    if versions:
        notes.append(f"Versions: {escape_markdown('; '.join(versions))}.")
    days = sorted({record.finished[:10] for record in used if record.finished})
    if days:
        span = " to ".join(dict.fromkeys((days[0], days[-1])))
        notes.append(f"Date: {escape_markdown(span)}.")
    commands = _unique(record.environment.get("command", "") for record in used)
    return notes + [f"Command: {_code(command)}" for command in commands]


def protocol_lines(table: Table, records: Sequence[Record]) -> list[str]:
    """Of each task in plain text, in short: what all its protocols have in common."""
    lines = []
    for task, title in _TITLES.items():
        protocols = {
            canonical(record.protocol): record.protocol
            for record in records
            if record.task == task and record.benchmark == table.benchmark
        }
        if protocols:
            lines.append(f"{title}: {_describe(list(protocols.values()))}")
    return lines


def _evidence_notes(table: Table) -> list[str]:
    """What each interval speaks about, and where there is none."""
    scores = [score for row in table.rows for score in row.metrics.values() if score is not None]
    compared = [score for score in scores if score.delta is not None]
    if not compared:
        return []
    notes = [
        "By seed: what another training would show; p of Student's paired t-test. By image: what "
        "these weights would show on other images of the kind"
        + (f"; paired bootstrap, {table.image_draws:,} draws." if table.image_draws else ".")
        + " The seeds decide where they can, the images where there is no p by seed."
    ]
    if any(score.delta.n > 1 and score.p_value is None for score in compared if score.delta):
        notes.append(
            "Where all seeds differ by exactly the same there is no spread to test against: no p "
            "by seed, and the interval has no width."
        )
    shown = [
        score
        for row in table.rows
        for name in TASK_OF_METRIC
        if (score := row.metrics[name]) is not None and score.delta is not None
    ]
    if missing := sum(score.delta_by_image is None for score in shown):
        notes.append(
            f"{missing} of {len(shown)} differences have none by image: what both sides saw was "
            "not kept, or does not fit."
        )
    said = [f"By image: {escape_markdown(remark)}." for remark in table.remarks]
    if len(said) > _MOST_REMARKS:
        said[_MOST_REMARKS:] = [f"By image: {len(said) - _MOST_REMARKS} more of the kind."]
    return notes + said


def _computed_differently(records: Sequence[Record]) -> list[str]:
    """Where the seeds of one cell were not computed in one way, such as in one precision."""
    cells: dict[tuple[str, TaskName], list[Record]] = {}
    for record in records:
        cells.setdefault((record.backbone, record.task), []).append(record)
    notes = []
    for (backbone, task), seeds in cells.items():
        for name in sorted(ONLY_KNOWN_AFTER):
            ways: dict[str, list[int]] = {}
            for record in seeds:
                ways.setdefault(str(record.protocol.get(name, "none")), []).append(record.seed)
            if len(ways) > 1:
                told = "; ".join(
                    f"{way} (seed {', '.join(map(str, sorted(of)))})" for way, of in ways.items()
                )
                line = f"{backbone}, {_TITLES[task].lower()}: {name} differs between seeds: {told}"
                notes.append(f"{escape_markdown(line)}.")
    return notes


def _describe(protocols: Sequence[dict[str, Any]]) -> str:
    """What all protocols have in common: pretrainings differ by their recipes."""
    first = protocols[0]
    parts = [first[key] for key in _MODELS if key in first]
    parts += [first["metric"]] if "metric" in first else []
    parts += [f"width {first['width']}"] if "width" in first else []
    # Records of other programs may hold anything here.
    budgets = [found for p in protocols if isinstance(found := p.get("budget"), dict)]
    for key, text in _BUDGET.items():
        values = _unique(_text(budget.get(key)) for budget in budgets)
        if len(values) == 1:
            parts.append(text.format(values[0]))
    data = _unique(str(protocol.get("data", ""))[:12] for protocol in protocols)
    parts += [f"data {digest}" for digest in data]
    return "; ".join(map(str, parts))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return "x".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _machine(environment: dict[str, str]) -> str:
    if "cpu" not in environment:
        return ""
    text = f"{environment['cpu']}, {environment.get('cpu_count', '?')} CPUs"
    accelerator = environment.get("accelerator", "none")
    return text if accelerator == "none" else f"{accelerator}, {text}"


def _versions(environment: dict[str, str]) -> str:
    names = ("python", "torch", "mmengine")
    return ", ".join(f"{name} {environment[name]}" for name in names if name in environment)


def _unique(texts: Iterable[str]) -> list[str]:
    return [text for text in dict.fromkeys(texts) if text]


def _code(text: str) -> str:
    """Inline code in markdown, whatever backticks are in it."""
    text = in_one_line(text)
    fence = "`"
    while fence in text:
        fence += "`"
    return f"{fence} {text} {fence}" if "`" in text else f"`{text}`"
