"""What each row costs: times of its trainings, and the speed of its architecture."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.intervals import Interval, interval
from eval.records import Record, TaskName
from eval.sections.material import Material
from eval.sections.work import step_times, teachers_forward, work_of
from eval.summary import Row
from eval.teachers import by_name, teacher_of

SCORES: dict[str, TaskName] = {"mAP": "detection", "mIoU": "segmentation"}
"""What is bought, and the task that measures it."""
Currency = Literal["time", "work"]
"""What is paid: seconds; or multiply-adds, where the same step took now long and now short."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """One row. Times in seconds; None where not known.

    pretraining: by seed; empty for what is not trained here. teacher: of its teacher, which all
    seeds share: counted once. fine_tuning: by task, over seeds. iterations: of its pretraining, by
    seed. currency: the same of all rows; spent, spent_on_teacher: in this, by seed as pretraining
    and once as teacher.
    """

    row: Row
    architecture: str
    pretraining: Mapping[int, float]
    teacher: float | None
    fine_tuning: Mapping[str, Interval]
    iterations: Mapping[int, float]
    currency: Currency
    spent: Mapping[int, float]
    spent_on_teacher: float | None

    @property
    def name(self) -> str:
        return self.row.name.backbone

    @property
    def is_control(self) -> bool:
        """Of random weights: nothing is spent until they are there."""
        return not self.pretraining and self.name.startswith("scratch:")

    def until_weights(self, seeds: Collection[int] = ()) -> float | None:
        """Spent on pretraining, with the teacher's: the mean over these seeds, or over all that
        there are where one of them is not there."""
        chosen = seeds if seeds and set(seeds) <= self.spent.keys() else self.spent
        mean = interval([self.spent[seed] for seed in chosen])
        return None if mean is None else mean.mean + (self.spent_on_teacher or 0.0)


Speeds = Mapping[str, Interval]
"""By architecture: images/s over the measurements of all its rows, whose weights do not matter."""


def prices_of(material: Material) -> list[Price]:
    """Of each row of the table, in its order."""
    by_row: dict[str, list[Record]] = defaultdict(list)
    for record in material.records:
        if record.status == "ok":
            by_row[record.backbone].append(record)
    currency: Currency = "time" if step_times(material.records) is None else "work"
    teachers = by_name([*material.records, *material.teachers])
    prices = []
    for row in material.table.rows:
        records = by_row.get(row.name.backbone, [])
        trained = [record for record in records if record.task == "classification"]
        times = {r.seed: r.cost["seconds"] for r in trained if "seconds" in r.cost}
        teacher = _teacher_seconds(trained, teachers)
        work, teachers_work = _work(trained, teachers)
        tunings = {task: interval(_seconds(records, task)) for task in SCORES.values()}
        prices.append(
            Price(
                row=row,
                architecture=row.name.control or row.name.backbone,
                pretraining=times,
                teacher=teacher,
                fine_tuning={task: mean for task, mean in tunings.items() if mean is not None},
                iterations={
                    r.seed: r.cost["iterations"] for r in trained if "iterations" in r.cost
                },
                currency=currency,
                spent=times if currency == "time" else work,
                spent_on_teacher=teacher if currency == "time" else teachers_work,
            )
        )
    return prices


def _seconds(records: Iterable[Record], task: str) -> list[float]:
    return [r.cost["seconds"] for r in records if r.task == task and "seconds" in r.cost]


def _teacher_seconds(trained: Sequence[Record], teachers: Mapping[str, Record]) -> float | None:
    """Of the teacher's training: what the student's record says, else the teacher's own."""
    found = [r.cost["teacher_seconds"] for r in trained if "teacher_seconds" in r.cost]
    if found:
        return max(found)
    teacher = _teacher_of_any(trained, teachers)
    if teacher is None or "seconds" not in teacher.cost:
        return None
    return teacher.cost["seconds"] + teacher.cost.get("teacher_seconds", 0.0)


def _work(
    trained: Sequence[Record], teachers: Mapping[str, Record]
) -> tuple[dict[int, float], float | None]:
    """By seed, with the teacher's forward pass; and of the teacher's training, its own teacher's
    included. No seed where the teacher's is not known: the sum would be too small."""
    found = {r.seed: work for r in trained if (work := work_of(r)) is not None}
    if all(teacher_of(record) is None for record in trained):
        return found, None
    teacher = _teacher_of_any(trained, teachers)
    if teacher is None:
        return {}, None
    # Without itself: records of several recipes of one name could make a circle.
    others = {name: record for name, record in teachers.items() if record is not teacher}
    own, above = _work([teacher], others)
    if teacher.seed not in own:
        return {}, None
    passes = {r.seed: teachers_forward(r, teacher) for r in trained if r.seed in found}
    return {
        seed: work + more for seed, work in found.items() if (more := passes[seed]) is not None
    }, own[teacher.seed] + (above or 0.0)


def _teacher_of_any(trained: Sequence[Record], teachers: Mapping[str, Record]) -> Record | None:
    """The seeds of a row have one teacher."""
    name = next((teacher for r in trained if (teacher := teacher_of(r)) is not None), None)
    return None if name is None else teachers.get(name)


def speeds_of(material: Material, prices: Sequence[Price], size: str) -> Speeds:
    """size: "224" or "detection", of the image."""
    architecture = {price.name: price.architecture for price in prices}
    found: dict[str, list[float]] = defaultdict(list)
    for record in material.of_task("speed"):
        metric = record.metrics.get(f"images_per_second_{size}")
        if record.backbone in architecture and metric is not None and metric.value is not None:
            found[architecture[record.backbone]].append(metric.value)
    return {name: mean for name, values in found.items() if (mean := interval(values)) is not None}


def machines_of(records: Iterable[Record]) -> int:
    """How many different machines, or numbers of threads, these come from."""
    named = ("cpu", "accelerator", "threads")
    return len({tuple(record.environment.get(name) for name in named) for record in records})
