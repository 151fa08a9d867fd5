"""What the sections on pretrained classifiers share: their answers, and why some are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from classification.evidence import Answers, answers_in
from engine.evidence import Evidence
from eval.intervals import interval
from eval.records import Record
from eval.sections.material import Material
from eval.sections.section import Cell, number
from eval.specs import tuning_of
from eval.text import in_one_line

TOP1 = {"classification": "top1", "finetune": "tuned_top1"}
"""By task."""
PLAIN = "plain"
"""The recipe of fine-tuning without tricks."""
_MOST_NAMES = 8
_LONGEST_LABEL = 32


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One classifier, of one seed, and what it answered."""

    record: Record
    evidence: Evidence
    answers: Answers


@dataclass
class Unseen:
    """Records without answers that can be used, by the reason."""

    reasons: dict[str, list[Record]] = field(default_factory=dict)

    def add(self, reason: str, record: Record) -> None:
        self.reasons.setdefault(reason, []).append(record)

    def in_words(self) -> tuple[str, ...]:
        """A line for each reason."""
        return tuple(f"{_listed(found)}: {why}" for why, found in self.reasons.items())


def see(material: Material, record: Record, unseen: Unseen) -> Seen | None:
    """Reads a record's evidence; None, and a word to `unseen`, where there is none to use."""
    evidence = material.evidence(record)
    if evidence is None:
        unseen.add(
            "its record names no evidence: an older version made it, or its artifact alone was left"
            if record.evidence_sha256 is None
            else "its evidence is not there, or cannot be read",
            record,
        )
        return None
    try:
        return Seen(record=record, evidence=evidence, answers=answers_in(evidence))
    except ValueError as error:
        unseen.add(str(error), record)
        return None


def by_backbone(records: Iterable[Record]) -> dict[str, list[Record]]:
    """In the order in which the backbones come."""
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(record.backbone, []).append(record)
    return found


def top1_of(rows: Mapping[str, Sequence[Record]]) -> dict[str, float]:
    """Mean top-1 over the seeds, in percent; without the rows that have none."""
    found = {}
    for backbone, records in rows.items():
        metrics = [record.metrics.get(TOP1.get(record.task, "")) for record in records]
        values = [metric.value for metric in metrics if metric is not None]
        if mean := interval([value for value in values if value is not None]):
            found[backbone] = mean.mean
    return found


def best_seen(material: Material, task: str, unseen: Unseen) -> Seen | None:
    """The row of the highest mean top-1, of the first seed whose answers can be seen; of the next
    one where none can. None where there is none, for which `unseen` has the reasons."""
    rows = by_backbone(material.of_task(task))
    top1 = top1_of(rows)
    ranked = sorted(rows, key=lambda name: -top1.get(name, -1.0))
    for record in (record for name in ranked for record in rows[name]):
        if (seen := see(material, record, unseen)) is not None:
            return seen
    return None


def other_tuning(backbone: str, ranked: Sequence[str]) -> str | None:
    """Another fine-tuning of what `backbone` starts from, to look at its answers beside: the plain
    one where there is one, else the best. None where there is no other.

    A network from random weights gets so much else wrong that beside it there is little to see.
    ranked: names of rows, the best first.
    """
    recipe = tuning_of(backbone)
    if recipe is None:
        return None
    start = backbone.removesuffix(recipe)
    others = [n for n in ranked if n != backbone and n == f"{start}{tuning_of(n) or ''}"]
    plain = f"{start}{PLAIN}"
    return plain if plain in others else next(iter(others), None)


def over_seeds(values: Sequence[float], digits: int = 1, *, signed: bool = False) -> Cell:
    """Mean and half of the 95% interval, each seed's value behind it; of one seed its value.

    A dash for no values.
    """
    mean = interval(values)
    if mean is None:
        return number(None)
    plain = number(mean.mean, digits, signed=signed)
    each = ", ".join(number(value, digits, signed=signed).text for value in values)
    if mean.ci95 is None:
        return plain  # which has no interval
    half = number(mean.ci95[1] - mean.mean, digits).text
    return Cell(text=f"{plain.text} ± {half}", sort=mean.mean, detail=f"seeds: {each}")


def short(name: str, most: int = _LONGEST_LABEL) -> str:
    """A name that fits beside an axis, its unseen characters made visible: both its ends."""
    one_line = in_one_line(name)
    head = most // 2
    return one_line if len(one_line) <= most else f"{one_line[:head]}…{one_line[head + 1 - most :]}"


def count_of(number: int, noun: str) -> str:
    """`1 image`, `2 images`; the noun is one that takes an "s"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _listed(records: Sequence[Record]) -> str:
    rows = by_backbone(records)
    named = [
        f"{short(backbone)} ({'seed' if len(found) == 1 else 'seeds'} "
        f"{', '.join(str(record.seed) for record in found)})"
        for backbone, found in list(rows.items())[:_MOST_NAMES]
    ]
    more = len(rows) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
