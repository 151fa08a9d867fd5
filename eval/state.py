"""How a job ended before, by what it left behind."""

from __future__ import annotations

from pathlib import Path

from backbones.card import ArtifactError, Card, read_card
from eval.jobs import JobKind, State
from eval.records import Record


def read_made_card(directory: Path, weights_sha256: str | None) -> Card:
    """The card of an artifact that a job makes. Raises ArtifactError as `read_card` does, and where
    it was made from another weights file than the planned one, whose sha256 is given."""
    card = read_card(directory)
    found = card.notes.get("weights_sha256")
    if weights_sha256 is not None and found != weights_sha256:
        raise ArtifactError(
            f"{directory} was made from {card.notes.get('weights_file', 'a weights file')} of "
            f"sha256 {found}, planned was {weights_sha256}: the file was changed, or is another "
            "one on the machine that read it; run the same command again"
        )
    return card


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
