"""How a job ended before, by what it left behind."""

from __future__ import annotations

from backbones.card import Card
from eval.jobs import JobKind, State
from eval.records import Record


def state_of(kind: JobKind, *, record: Record | None, card: Card | None) -> State:
    """`todo` where something is missing. record: its final one; card: of its artifact.

    A pretraining whose artifact knows its accuracy is done without a record: that is written
    again, from its result, or else from the card.
    """
    if record is not None and record.status == "diverged":
        return "diverged"
    if kind == "obtain":
        return "todo" if card is None else "ok"
    if kind == "classification":
        known = card is not None and (record is not None or card.metrics is not None)
        return "ok" if known else "todo"
    return "todo" if record is None else "ok"
