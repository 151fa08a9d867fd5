"""From what a job left behind to its record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from backbones.card import ArtifactError, Card, read_card
from classification.tricks.found_learning_rate import FoundLearningRate
from engine.results import Metric, StageResult
from eval.jobs import Job
from eval.records import Record, Status, TaskName, canonical

_OF_IMPORTED = (
    *("source", "weights_name", "weights_hub", "weights_commit", "weights_url"),
    *("weights_file", "weights_sha256", "license"),
)
"""Notes of a card that say where imported weights come from."""

ONLY_KNOWN_AFTER = frozenset(
    {
        *("precision", "micro_batch", "processes", "reference_paths", "threads"),
        FoundLearningRate.name,
    }
)
"""Of a protocol: how the machine came to carry it out. These values move a number a little, and two
machines that differ in them have still answered the same question."""


def record_of_result(
    job: Job, *, command: str, message: str | None = None, process_seconds: float | None = None
) -> Record:
    """The record of a job whose process ended well.

    process_seconds: from its start to its end, which the process itself does not see.
    Raises ValueError where the process left no result, or one of another protocol than planned.
    """
    assert job.result is not None, "a job with a record writes a result"
    try:
        result = StageResult.read(job.result)
    except FileNotFoundError:
        raise ValueError(f"the process ended well and wrote no result to {job.result}") from None
    ran = _check_protocol(job, result.protocol)
    card = card_of(job)
    if job.kind == "classification" and result.status == "ok" and card is None:
        raise ValueError(f"the process ended well and left no artifact at {job.artifact}")
    return _record(
        job,
        status=result.status,
        message=message if result.status == "diverged" else None,
        metrics=result.metrics,
        per_class=result.per_class,
        cost={
            **result.cost,
            **({} if process_seconds is None else {"process_seconds": process_seconds}),
            **_backbone_cost(card),
        },
        weights_sha256=None if card is None else card.sha256,
        evidence_sha256=result.evidence_sha256,
        environment={**result.environment, **_imported_from(card), **_origin(command)},
        protocol={**job.protocol, **ran},
        notes=result.notes,
    )


def record_left_behind(job: Job, *, command: str) -> Record | None:
    """The record of a pretraining whose artifact is there and whose record is not: all that its
    result says, where one of these weights lies there still, else what the artifact's card knows.
    """
    of_card = record_of_card(job, command=command)
    if of_card is None:
        return None
    try:
        whole = record_of_result(job, command=command)
    except (OSError, ValueError):
        return of_card
    fits = whole.status == "ok" and of_card.metrics.items() <= whole.metrics.items()
    return whole if fits else of_card


def record_of_card(job: Job, *, command: str) -> Record | None:
    """The record of a pretraining whose artifact is there and whose record is not; None if the
    artifact's card does not know its accuracy."""
    card = card_of(job)
    if card is None or card.metrics is None:
        return None
    n = card.metrics["n"]
    return _record(
        job,
        status="ok",
        metrics={
            "top1": Metric(value=card.metrics["top1"], n=n),
            "top5": Metric(value=card.metrics["top5"], n=n),
        },
        cost={**(card.cost or {}), **_backbone_cost(card)},
        weights_sha256=card.sha256,
        environment={**card.versions, **_origin(command)},
        notes=tuple(card.notes.get("remarks", ())),
    )


def record_of_failure(job: Job, *, status: Status, message: str, command: str) -> Record:
    """The record of a job that ended badly, or that never began because of another."""
    return _record(job, status=status, message=message, environment=_origin(command))


def _record(
    job: Job, *, status: Status, protocol: Mapping[str, Any] | None = None, **content: Any
) -> Record:
    task: TaskName | None = None if job.kind == "obtain" else job.kind
    assert task is not None, "obtaining weights has no record"
    assert job.key is not None, "every task has a key"
    spec = job.spec
    return Record(
        key=job.key,
        lineage=job.lineage,
        backbone=spec.name,
        control=None if spec.is_control else spec.control.name,
        tricks=spec.tricks,
        task=task,
        benchmark=job.benchmark,
        protocol=_plain(job.protocol if protocol is None else protocol),
        seed=job.seed,
        status=status,
        **content,
    )


def _origin(command: str) -> dict[str, str]:
    finished = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {"command": command, "finished": finished}


def _imported_from(card: Card | None) -> dict[str, str]:
    """Where weights of others come from: file, sha256, commit on the hub, licence."""
    if card is None or card.weights != "imported":
        return {}
    found = {key: card.notes[key] for key in _OF_IMPORTED if isinstance(card.notes.get(key), str)}
    return {f"imported_{key.removeprefix('weights_')}": value for key, value in found.items()}


def card_of(job: Job) -> Card | None:
    """Of the artifact that a job makes or reads; None where there is none, or no whole one."""
    try:
        return read_card(job.artifact)
    except ArtifactError:
        return None


def _backbone_cost(card: Card | None) -> dict[str, float]:
    """Parameters and GMACs of the backbone alone, apart from those of a detector around it."""
    cost = (card.cost if card is not None else None) or {}
    return {
        f"backbone_{key}": cost[key]
        for key in ("parameters", "gmacs", "gmacs_image_size")
        if key in cost
    }


def _check_protocol(job: Job, ran: dict[str, Any]) -> dict[str, Any]:
    """What the machine added to the planned protocol, such as its precision; see ONLY_KNOWN_AFTER.

    Raises ValueError where the two contradict each other: a benchmark file or data that change
    during a run would put a number under a wrong key.
    """
    planned, ran = _plain(job.protocol), _plain(ran)
    differing = sorted(key for key in planned if key in ran and planned[key] != ran[key])
    if differing:
        raise ValueError(
            f"the process ran another protocol than was planned ({', '.join(differing)} differ): "
            "the benchmark file or its data changed meanwhile; run the command again"
        )
    added = {key: value for key, value in ran.items() if key not in planned}
    if unplanned := sorted(added.keys() - ONLY_KNOWN_AFTER):
        raise ValueError(
            f"{job.result} holds {', '.join(unplanned)} in its protocol, which was not planned: "
            "delete it and run the command again"
        )
    return added


def as_planned(protocol: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a record's protocol that its key follows from."""
    return {key: value for key, value in protocol.items() if key not in ONLY_KNOWN_AFTER}


def _plain(protocol: Mapping[str, Any]) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(canonical(protocol))
    return plain
