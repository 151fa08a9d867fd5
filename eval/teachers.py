"""The pretrainings of teachers: of no row of a table, and yet a part of what its rows cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from classification.identity import TEACHER_SEED
from eval.records import Record
from eval.selection import conditions


def teacher_of(record: Record) -> str | None:
    """The name that a pretraining's recipe gives its teacher."""
    found: object = record.protocol if record.task == "classification" else None
    for key in ("recipe", "tricks", "distillation", "teacher"):
        found = found.get(key) if isinstance(found, dict) else None
    return found if isinstance(found, str) else None


def teachers_records(records: Iterable[Record], known: Iterable[Record]) -> tuple[Record, ...]:
    """The pretrainings, out of `known`, of the teachers of `records` and of their own teachers.

    A student's record knows its teacher by name alone. The one meant is of the seed of all
    teachers, and was trained under the student's conditions; of several the newest. None of a
    teacher that was not trained here.
    """
    trained: dict[str, list[Record]] = {}
    for record in known:
        if (record.task, record.status, record.seed) == ("classification", "ok", TEACHER_SEED):
            trained.setdefault(record.backbone, []).append(record)
    found: dict[str, Record] = {}
    students = list(records)
    while students:
        student = students.pop()
        name = teacher_of(student)
        if name is None or name in found:
            continue
        same = [r for r in trained.get(name, []) if conditions(r) == conditions(student)]
        if same:
            found[name] = max(same, key=lambda record: (record.finished, record.key))
            students.append(found[name])
    return tuple(found.values())


def by_name(records: Sequence[Record]) -> dict[str, Record]:
    """What a teacher's name means among `records`: its pretraining of the seed of all teachers."""
    return {
        record.backbone: record
        for record in records
        if (record.task, record.status, record.seed) == ("classification", "ok", TEACHER_SEED)
    }
