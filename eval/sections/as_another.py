"""A second answer of one training, as if it were another's: to be compared image by image."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from engine.evidence import Evidence
from eval.image_bootstrap import ImageBootstrap
from eval.records import Record
from eval.sections.material import Material


@dataclass(frozen=True, kw_only=True)
class Another:
    """other: the record of the second answer; bootstrap: knows what both saw."""

    other: Record
    bootstrap: ImageBootstrap


def as_another(
    material: Material,
    record: Record,
    plain: str,
    second: str,
    answers: Callable[[Evidence], Evidence | None],
) -> Another:
    """plain, second: the metric of the one answer, and of the other, which has it under the first's
    name. answers: the evidence of the second, in that of the record."""
    key = f"{record.key} {second}"
    other = record.model_copy(update={"key": key, "metrics": {plain: record.metrics[second]}})

    def evidence(asked: Record) -> Evidence | None:
        found = material.evidence(record)
        return answers(found) if found is not None and asked.key == key else found

    bootstrap = ImageBootstrap(evidence, images=2 * record.metrics[second].n)
    return Another(other=other, bootstrap=bootstrap)
