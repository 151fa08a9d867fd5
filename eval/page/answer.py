"""The first lines of the page: what the table answers, and where it answers nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.sections.section import Section
from eval.summary import Table
from eval.tables import to_json

QUESTION = "Which ImageNet training tricks trickle down to detection and segmentation?"

_METRICS = {"mAP": "detection", "mIoU": "segmentation"}
_VERDICTS = {
    "better": "better than the control: {}",
    "worse": "worse than the control: {}",
    "no evidence": "no evidence of a difference from the control: {}",
}
_MOST_NAMES = 6
_TRICKS = "worth"


def make_answer(table: Table, sections: Sequence[Section]) -> list[str]:
    """What each trick is worth, where a section knows it, and one line for each task's metric."""
    rows = to_json(table)["rows"]
    answer = [section.lead for section in sections if section.key == _TRICKS]
    for metric, task in _METRICS.items():
        if task in table.tasks:
            answer.append(_line(metric, rows, len(table.seeds)))
    return answer or ["Nothing was transferred: only pretrainings are recorded."]


def _line(metric: str, rows: Sequence[dict[str, Any]], seeds: int) -> str:
    scores = {row["backbone"]: score for row in rows if (score := row["metrics"].get(metric))}
    if not scores:
        return f"{metric}: not measured in any row."
    best = max(scores, key=lambda name: scores[name]["mean"])
    parts = [f"{metric}: highest {scores[best]['mean']:.1f}, {best}"]
    if fewer := [name for name, score in scores.items() if score["n"] < seeds]:
        parts.append(
            f"of fewer than {seeds} seeds, so not comparable as they stand: {_listed(fewer)}"
        )
    for verdict, text in _VERDICTS.items():
        names = [name for name, score in scores.items() if score.get("verdict") == verdict]
        if names:
            parts.append(text.format(_listed(names)))
    if not any(score.get("verdict") for score in scores.values()):
        parts.append("no row stands beside its control, so nothing says what pretraining adds")
    return f"{'; '.join(parts)}."


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    shown = ", ".join(names[:_MOST_NAMES])
    return f"{shown} and {more} more" if more > 0 else shown
