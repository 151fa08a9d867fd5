"""What stands below a table: how the numbers were measured, in short, out of the records."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from classification.tricks.found_learning_rate import FoundLearningRate
from eval.counted_images import counted_images
from eval.jobs import TASK_FACTS
from eval.recording import ONLY_KNOWN_AFTER
from eval.records import Record, TaskName, canonical
from eval.significance import SMALLEST_P
from eval.summary import TASK_OF_METRIC, Table
from eval.tables import problem_lines, reading
from eval.text import escape_markdown, in_one_line

_MOST_REMARKS = 20
_MOST_NAMES = 12
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
    sizes = _together(
        (row.name.backbone, size)
        for row in table.rows
        if (size := row.cost.get("gmacs_image_size")) is not None and size != 224
    )
    notes += [
        f"GMACs of {escape_markdown(names)}: at {size:g} px, not 224." for size, names in sizes
    ]
    problems = _together((r.name.backbone, line) for r in table.rows for line in problem_lines(r))
    notes += [f"{escape_markdown(names)}, {escape_markdown(line)}" for line, names in problems]
    notes += _computed_differently(used)
    notes += _remarks(used)
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
    for task, facts in TASK_FACTS.items():
        of_task = [r for r in records if r.task == task and r.benchmark == table.benchmark]
        protocols = {canonical(record.protocol): record.protocol for record in of_task}
        if protocols:
            metric = counted_images(of_task) if task == "finetune" else None
            said = _describe(list(protocols.values()), metric)
            lines.append(f"{facts.title.capitalize()}: {said}")
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
        + (
            f"; paired bootstrap, {table.image_draws:,} draws; beyond all draws a "
            f"normal tail, and no p below {SMALLEST_P:g}."
            if table.image_draws
            else "."
        )
        + " The seeds decide where they can, the images where there is no p by seed."
    ]
    if any(score.delta.n > 1 and score.p_value is None for score in compared if score.delta):
        notes.append(
            "Where all seeds differ by exactly the same there is no spread to test against: no p "
            "by seed, and the interval has no width."
        )
    if any(score.only_alone for score in compared):
        notes.append(
            "Where an interval is without 0 and yet there is no evidence: it holds for its row "
            "alone; over all rows of the column the difference could still be chance (Holm)."
        )
    shown = [
        score
        for row in table.rows
        for name in TASK_OF_METRIC
        if (score := row.metrics[name]) is not None and score.delta is not None
    ]
    if missing := sum(score.delta_by_image is None for score in shown):
        notes.append(
            f"{missing} of {len(shown)} differences have none by image: the answers to the single "
            "test images were not kept of both rows, or are not those of the same images."
        )
    said = [f"By image: {escape_markdown(remark)}." for remark in table.remarks]
    if len(said) > _MOST_REMARKS:
        said[_MOST_REMARKS:] = [f"By image: {len(said) - _MOST_REMARKS} more of the kind."]
    return notes + said


def _remarks(records: Sequence[Record]) -> list[str]:
    """What the records say of themselves, each once for all seeds and rows that say the same."""
    seeds: dict[tuple[str, str], set[int]] = {}
    for record in records:
        for note in record.notes:
            seeds.setdefault((record.backbone, note.rstrip(".")), set()).add(record.seed)
    same = _together(
        (backbone, (note, tuple(sorted(of)))) for (backbone, note), of in seeds.items()
    )
    return [
        f"{escape_markdown(f'{names}, {_listed_seeds(of)}: {note}')}." for (note, of), names in same
    ]


def _together(pairs: Iterable[tuple[str, Any]]) -> list[tuple[Any, str]]:
    """What is said, and the names it is said of, each once and of many the first few."""
    names: dict[Any, dict[str, None]] = {}
    for name, said in pairs:
        names.setdefault(said, {})[name] = None
    return [(said, _listed(list(of))) for said, of in names.items()]


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _listed_seeds(seeds: Sequence[int]) -> str:
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def _computed_differently(records: Sequence[Record]) -> list[str]:
    """Where the seeds of one cell were not computed in one way, such as in one precision."""
    cells: dict[tuple[str, TaskName], list[Record]] = {}
    for record in records:
        cells.setdefault((record.backbone, record.task), []).append(record)
    told = []
    for (backbone, task), seeds in cells.items():
        # Each seed finds a rate of its own, as it draws its own weights, and has a note of it.
        for name in sorted(ONLY_KNOWN_AFTER - {FoundLearningRate.name}):
            ways: dict[str, list[int]] = {}
            for record in seeds:
                ways.setdefault(str(record.protocol.get(name, "none")), []).append(record.seed)
            if len(ways) > 1:
                each = "; ".join(
                    f"{way} (seed {', '.join(map(str, sorted(of)))})" for way, of in ways.items()
                )
                line = f"{TASK_FACTS[task].title}: {name} differs between seeds: {each}"
                told.append((backbone, line))
    return [f"{escape_markdown(f'{names}, {line}')}." for line, names in _together(told)]


def _describe(protocols: Sequence[dict[str, Any]], metric: str | None) -> str:
    """What all protocols have in common: pretrainings differ by their recipes. metric: in other
    words than theirs."""
    first = protocols[0]
    parts = [first[key] for key in _MODELS if key in first]
    metric = metric or first.get("metric")
    parts += [] if metric is None else [metric]
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
