"""Which images the scores of a fine-tuning are of: a record's protocol words it for all cases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from eval.records import Record


def counted_images(records: Sequence[Record]) -> str | None:
    """Of fine-tunings, what these did, in words; None where none of them came to its end."""
    told = dict.fromkeys(_of_one(record) for record in records if record.status == "ok")
    return "; or ".join(told) or None


def _of_one(record: Record) -> str:
    division: Any = record.protocol.get("division")
    how, folds = None, 1
    if isinstance(division, dict):  # records of other programs may hold anything here
        how, folds = division.get("validation"), division.get("folds", 1)
    # A fold that diverged has said nothing.
    trained = sum(value is not None for value in record.per_class.get("folds", {}).values())
    some = f"{trained} of {folds}" if trained and trained != folds else None
    if "validation_top1" in record.metrics:  # those of validation stand beside those of the test
        several = f", by the mean of the probabilities of {some or folds} folds"
        return f"of the test images{several if folds != 1 else ''}"
    if how == "kfold" and some:
        return f"of the training images that {some} folds held out, each by the one that did"
    if how == "kfold":
        return f"of all training images, each by the one of {folds} folds that held it out"
    if how == "repeated":
        held = f"{some or folds} hold-outs"
        return f"of the training images that {held} held out, each by those that did"
    return "of the training images held out for validation"
