"""The first lines of the page: what the table answers, and where it answers nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from classification.slices import wilson_interval
from eval.made import known_rows
from eval.records import Record
from eval.sections.material import Material
from eval.significance import LEVEL, holm, paired_t
from eval.specs import tuning_of
from eval.summary import TASK_OF_METRIC, Score, Table
from eval.tables import TITLES
from eval.tuned_classifiers import best_record

if TYPE_CHECKING:
    from eval.image_bootstrap import ImageBootstrap

QUESTION = "Which ImageNet training tricks trickle down to detection and segmentation?"

_METRICS = {"mAP": "detection", "mIoU": "segmentation", "tuned_top1": "finetune"}
_VERDICTS = {
    "better": "better than {}",
    "worse": "worse than {}",
    "no evidence": "no evidence of a difference from {}",
}
_MOST_NAMES = 6
_MOST_JUDGED = 3
"""Rows that a verdict names: more stand in the table, and are counted here."""
_BY_IMAGE = " by image, of one seed"
_TAUGHT = "distillation"


def question_of(table: Table) -> str:
    """What a page is asked: where one's own images are all there is, which fine-tuning is best."""
    if table.tasks == ("finetune",):
        return "Which fine-tuning is the best on these images?"
    return QUESTION


def make_answer(material: Material) -> list[str]:
    """One line for each task's metric: which row is the highest, and what stands beside it."""
    table = material.table
    answer = [_line(metric, material) for metric, task in _METRICS.items() if task in table.tasks]
    answer += _classifier(material)
    if answer and len(table.seeds) == 2:
        answer.append("All intervals by seed are over 2 seeds, and therefore wide.")
    return answer or ["Nothing was transferred: only pretrainings are recorded."]


def _line(metric: str, material: Material) -> str:
    table = material.table
    rows = [(row.name.backbone, row.metrics.get(metric)) for row in table.rows]
    scores = {name: score for name, score in rows if score is not None}
    said_metric = TITLES.get(metric, metric)
    if not scores:
        return f"{said_metric}: not measured in any row."
    seeds = len(table.seeds)
    whole = {name: score for name, score in scores.items() if score.value.n >= seeds}
    fewer = [name for name in scores if name not in whole]
    parts = [_highest(metric, material, whole, seeds if fewer else 0)]
    if fewer:
        said = f"of fewer than {seeds} seeds, so not comparable as they stand: {_listed(fewer)}"
        parts.append(said)
    for verdict, text in _VERDICTS.items():
        ways: dict[str, list[str]] = {}
        for name, score in scores.items():
            if score.verdict == verdict:
                ways.setdefault(_decided(score), []).append(name)
        for way, names in ways.items():
            many = f"{len(names)} of {len(scores)} rows"
            who = _listed(names) if len(names) <= _MOST_JUDGED else many
            parts.append(f"{text.format(table.reference)}{way}: {who}")
    if not any(score.verdict for score in scores.values()):
        parts.append(_not_compared(metric, table, scores))
    return f"{said_metric}: {'; '.join(parts)}."


def _classifier(material: Material) -> list[str]:
    """Where that of the fine-tuning that validated best lies."""
    best = best_record(material.records)
    if best is None or best.record.key not in material.classifiers:
        return []
    found = material.classifiers[best.record.key]
    which = f"; {found.which}" if found.which else ""
    here = "" if found.path.is_absolute() else ", in the folder of this page"
    return [
        f"The classifier that validated best, {best.record.backbone} ({best.said}{which}), lies in "
        f"{found.path}{here}; to take it elsewhere: {found.command}"
    ]


def _decided(score: Score) -> str:
    if score.decided_by != "images":
        return ""
    return _BY_IMAGE if score.delta is not None and score.delta.n == 1 else " by image"


def _not_compared(metric: str, table: Table, scores: Mapping[str, Score]) -> str:
    if any(score.untested for score in scores.values()):
        return f"of one seed, so that no difference from {table.reference} is tested"
    if not table.baseline_chosen:
        if all(tuning_of(row.name.backbone) for row in table.rows):
            return "no row stands beside SPEC~plain, so nothing says what the techniques add"
        return "no row stands beside its control, so nothing says what pretraining adds"
    if table.baseline in scores:
        return f"no row shares a seed with {table.reference}"
    return f"{table.reference} has no {TITLES.get(metric, metric)}, so that nothing is compared"


def _highest(metric: str, material: Material, scores: Mapping[str, Score], seeds: int) -> str:
    """seeds: how many all of them have, where others have fewer; 0 where there are no others."""
    if not scores:
        return "no row has all seeds, so that none is the highest"
    best, *others = sorted(scores, key=lambda name: -scores[name].value.mean)
    sure = _how_sure(metric, scores[best], material, best)
    said = f"highest {scores[best].value.mean:.1f}{sure}, {best}{_taught(best, material)}"
    if seeds:
        said += (
            f", of the {len(scores)} rows with all {seeds} seeds"
            if others
            else f", the only row with all {seeds} seeds"
        )
    if not others:
        return said
    measured = _measured(metric, material)
    ours = measured.get(best, {})
    # The highest is chosen by what it then is tested with: that compares all pairs of rows.
    p_values = holm(
        [_p_value(metric, ours, measured.get(name, {}), material.bootstrap) for name in others],
        tests=len(scores) * (len(scores) - 1) // 2,
    )
    alike = [name for name, p in zip(others, p_values, strict=True) if p is None or p >= LEVEL]
    tested = any(p is not None for p in p_values)
    way = _BY_IMAGE if tested and len(material.table.seeds) == 1 else ""
    if not alike:
        other, are = ("the other", "is") if len(others) == 1 else ("the others", "are")
        return f"{said}, {other}{' of which' if seeds else ''} {are} lower{way}"
    lower = [name for name in others if name not in alike]
    below = f"; lower: {_listed(lower)}" if lower else ""
    return f"{said}; cannot be told from it{way}: {_listed(alike)}{below}"


def _how_sure(metric: str, score: Score, material: Material, name: str) -> str:
    """The interval of a fine-tuning: by the seeds, of one seed by its images (Wilson's)."""
    if TASK_OF_METRIC[metric] != "finetune":
        return ""
    if score.value.ci95 is not None:
        low, high = (min(100.0, max(0.0, end)) for end in score.value.ci95)
        return f" (95% by seed: {low:.1f} to {high:.1f})"
    (record,) = _measured(metric, material)[name].values()
    n = record.metrics[metric].n
    if not n:
        return ""
    low, high = wilson_interval(round(_value(record, metric) * n / 100), n)
    return f" (95% by image, {n} of them: {low:.1f} to {high:.1f})"


def _taught(best: str, material: Material) -> str:
    """That its pretraining needs a teacher, where it does."""
    made = known_rows(record for record in material.records if record.backbone == best)[0]
    tricks = made[best].names if best in made else ()
    return " (needs a teacher)" if any(name.startswith(_TAUGHT) for name in tricks) else ""


def _p_value(
    metric: str,
    ours: Mapping[int, Record],
    theirs: Mapping[int, Record],
    bootstrap: ImageBootstrap | None,
) -> float | None:
    """That two rows are the same, by seed, or by image where there is one seed."""
    shared = sorted(ours.keys() & theirs.keys())
    by_seed = paired_t([_value(ours[s], metric) - _value(theirs[s], metric) for s in shared])
    if by_seed is not None or bootstrap is None or len(shared) != 1:
        return by_seed
    by_image = bootstrap.difference(metric, ours, theirs)
    return None if by_image is None else by_image.p_value


def _measured(metric: str, material: Material) -> dict[str, dict[int, Record]]:
    """backbone -> seed -> record"""
    found: dict[str, dict[int, Record]] = {}
    for record in material.of_task(TASK_OF_METRIC[metric]):
        if metric in record.metrics and record.metrics[metric].value is not None:
            found.setdefault(record.backbone, {})[record.seed] = record
    return found


def _value(record: Record, metric: str) -> float:
    value = record.metrics[metric].value
    assert value is not None, "it was measured"
    return value


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown
