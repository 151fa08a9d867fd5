"""From records to the numbers of a table: means over seeds, differences to the control and how
sure they are, cost.

Pure functions: the same records give the same table, wherever and whenever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from engine.evidence import Evidence
from eval.intervals import Interval, interval, paired_difference
from eval.jobs import TASK_FACTS, TRANSFERS
from eval.records import Record, Status, TaskName
from eval.significance import LEVEL, Verdict, holm, paired_t, verdict_of
from eval.specs import PLAIN, expected_tasks, tuning_of
from eval.text import in_one_line

if TYPE_CHECKING:
    from eval.image_bootstrap import ByImage, ImageBootstrap

TASK_OF_METRIC: dict[str, TaskName] = {
    metric: task for task, facts in TASK_FACTS.items() for metric in facts.columns
}
"""The columns of every table, and the task that each is measured by."""
MORE_COLUMNS: dict[str, TaskName] = {
    metric: task for task, facts in TASK_FACTS.items() for metric in facts.more_columns
}
"""Those of a table with a row that has them."""


@dataclass(frozen=True, kw_only=True)
class RowName:
    """One row. control: the row that its differences are to, see `Spec.compared_with`."""

    backbone: str
    control: str | None
    tricks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Score:
    """One metric of one row over seeds; delta: minus the control's, paired by seed.

    delta_by_image: the same difference over the test images, of the seeds that have evidence.
    p_value: of the delta by seed (see `paired_t`). decided_by: which of the two decides: "seeds"
    where they can, since whether another training would show the same is the question; "images"
    where there is no p by seed, as for one seed. p_holm: the deciding p-value, corrected over the
    rows of the table. verdict: None where there is no delta, or nothing that could be tested.
    """

    value: Interval
    delta: Interval | None
    delta_by_image: ByImage | None = None
    p_value: float | None = None
    decided_by: Literal["seeds", "images"] | None = None
    p_holm: float | None = None
    verdict: Verdict | None = None

    @property
    def deciding_p(self) -> float | None:
        """p-value of the side that decides, before correction."""
        if self.decided_by == "images":
            return None if self.delta_by_image is None else self.delta_by_image.p_value
        return self.p_value

    @property
    def untested(self) -> bool:
        """A delta of one seed, whose images were not asked."""
        return self.delta is not None and self.delta.n < 2 and self.delta_by_image is None

    @property
    def only_alone(self) -> bool:
        """Whether there would be evidence if this were the only row."""
        p_value = self.deciding_p
        return self.verdict == "no evidence" and p_value is not None and p_value < LEVEL


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A cell without a number: which, and why."""

    task: TaskName
    seed: int
    status: Status
    message: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """compared_with: the row that its differences are to; None for that row itself. metrics: None
    where nothing was measured. cost: None where it is not known."""

    name: RowName
    compared_with: str | None
    metrics: dict[str, Score | None]
    cost: dict[str, float | None]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """baseline: what all differences are to: the control of all rows, None where there are several,
    or what the user chose in its place. seeds: those asked for.

    image_draws: of the bootstrap over images, 0 where there was no evidence to draw from.
    remarks: why evidence was not used, where it was not.
    """

    benchmark: str
    baseline: str | None
    tasks: tuple[TaskName, ...]
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    image_draws: int = 0
    remarks: tuple[str, ...] = ()
    baseline_chosen: bool = False

    @property
    def reference(self) -> str:
        """What a difference is to, in words."""
        if self.baseline is not None and self.baseline_chosen:
            return f"the baseline {in_one_line(self.baseline)}"
        tuned = {tuning_of(row.name.control) for row in self.rows if row.name.control}
        if tuned == {PLAIN}:
            return "plain fine-tuning"
        return "the control (plain fine-tuning of SPEC~RECIPE)" if PLAIN in tuned else "the control"


def make_table(
    records: Iterable[Record],
    *,
    benchmark: str,
    rows: Sequence[RowName],
    seeds: Sequence[int],
    tasks: Sequence[TaskName],
    bootstrap: ImageBootstrap | None = None,
    baseline: str | None = None,
) -> Table:
    """The table of `rows` in their order, out of at most one record per (row, task, seed).

    bootstrap: see `make_bootstrap`; None for no differences by image. baseline: the row that all
    differences are to; by default each row's control.
    """
    assert baseline is None or baseline in {row.backbone for row in rows}, "it is a row"
    by_row: dict[str, list[Record]] = {row.backbone: [] for row in rows}
    for record in records:
        if record.backbone in by_row and record.seed in seeds:
            by_row[record.backbone].append(record)
    everything = [record for row in by_row.values() for record in row]
    found = {name for record in everything for name in record.metrics}
    names = [*TASK_OF_METRIC, *sorted(found - set(TASK_OF_METRIC))]
    controls = dict.fromkeys(row.control or row.backbone for row in rows)
    control_of_all = next(iter(controls)) if len(controls) == 1 else None
    if control_of_all not in by_row:
        control_of_all = None
    made = [_row(name, baseline or name.control, by_row, names, tasks, bootstrap) for name in rows]
    lower = {
        name
        for record in everything
        for name, metric in record.metrics.items()
        if not metric.higher_is_better
    }
    drawn = any(
        score is not None and score.delta_by_image is not None
        for row in made
        for score in row.metrics.values()
    )
    return Table(
        benchmark=benchmark,
        baseline=baseline or control_of_all,
        baseline_chosen=baseline not in (None, control_of_all),
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        rows=_judged(made, names, lower),
        image_draws=bootstrap.draws if bootstrap is not None and drawn else 0,
        remarks=()
        if bootstrap is None
        else tuple(f"{name}: {why}" for name, why in bootstrap.problems.items()),
    )


def make_bootstrap(
    records: Iterable[Record], evidence: Callable[[Record], Evidence | None]
) -> ImageBootstrap | None:
    """Differences by image between these records, each drawn for when it is first asked for.

    evidence: of a record, None where there is none. None where no record has any.
    """
    tasks = TASK_OF_METRIC.values()
    seen = [r for r in records if r.task in tasks and r.evidence_sha256 is not None]
    if not seen:
        return None
    from eval.image_bootstrap import ImageBootstrap  # numpy takes longer than `--help` may take

    tested = [record.metrics.values() for record in seen if record.task == "detection"]
    images = sum(max((metric.n for metric in metrics), default=0) for metrics in tested)
    return ImageBootstrap(evidence, images=images)


def _row(
    name: RowName,
    reference: str | None,
    by_row: dict[str, list[Record]],
    metrics: Sequence[str],
    tasks: Sequence[TaskName],
    bootstrap: ImageBootstrap | None,
) -> Row:
    records = by_row[name.backbone]
    compared_with = None if reference == name.backbone else reference
    others = by_row.get(compared_with or "", [])
    return Row(
        name=name,
        compared_with=compared_with,
        metrics={metric: _score(metric, records, others, bootstrap) for metric in metrics},
        cost=_cost(records, expected_tasks(name.backbone, tasks)),
        problems=tuple(
            Problem(
                task=record.task,
                seed=record.seed,
                status=record.status,
                message=record.message or "the loss is no number any more",
            )
            for record in sorted(records, key=lambda record: (record.task, record.seed))
            if record.status != "ok"
        ),
    )


def _score(
    metric: str,
    records: Sequence[Record],
    control: Sequence[Record],
    bootstrap: ImageBootstrap | None,
) -> Score | None:
    own, others = _measured(metric, records), _measured(metric, control)
    values, baseline = _values(metric, own), _values(metric, others)
    value = interval([values[seed] for seed in sorted(values)])
    if value is None:
        return None
    delta = paired_difference(values, baseline)
    if delta is None:
        return Score(value=value, delta=None)
    shared = sorted(values.keys() & baseline)
    p_value = paired_t([values[seed] - baseline[seed] for seed in shared])
    by_image = None if bootstrap is None else bootstrap.difference(metric, own, others)
    by_images = by_image is not None and by_image.p_value is not None
    return Score(
        value=value,
        delta=delta,
        delta_by_image=by_image,
        p_value=p_value,
        decided_by="seeds" if p_value is not None else "images" if by_images else None,
    )


def _judged(
    rows: Sequence[Row], metrics: Sequence[str], lower_is_better: set[str]
) -> tuple[Row, ...]:
    """The rows with what can only be said of all together; each metric is a family of tests."""
    judged = [dict(row.metrics) for row in rows]
    for metric in metrics:
        scores = [row.metrics[metric] for row in rows]
        corrected = holm([None if score is None else score.deciding_p for score in scores])
        for scored, score, p_holm in zip(judged, scores, corrected, strict=True):
            if score is not None:
                verdict = verdict_of(
                    None if score.delta is None or score.untested else score.delta.mean,
                    p_holm,
                    higher_is_better=metric not in lower_is_better,
                )
                scored[metric] = replace(score, p_holm=p_holm, verdict=verdict)
    return tuple(replace(row, metrics=new) for row, new in zip(rows, judged, strict=True))


def _measured(metric: str, records: Sequence[Record]) -> dict[int, Record]:
    """seed -> record; what has not been measured is left out, and never counts as zero."""
    return {
        record.seed: record
        for record in records
        if record.status == "ok"
        and metric in record.metrics
        and record.metrics[metric].value is not None
    }


def _values(metric: str, records: Mapping[int, Record]) -> dict[int, float]:
    return {
        seed: record.metrics[metric].value  # type: ignore[misc]
        for seed, record in records.items()
    }


def _cost(records: Sequence[Record], tasks: Sequence[TaskName]) -> dict[str, float | None]:
    """parameters, gmacs: of the backbone. seconds: of pretraining and fine-tunings together, mean
    over the seeds whose chain is whole; teacher_seconds: of its teacher, which is trained once for
    all seeds, apart. peak_memory_mb: the largest of all."""

    def first(key: str) -> float | None:
        return next((record.cost[key] for record in records if key in record.cost), None)

    chains = []
    training = [r for r in records if r.task == "classification" or r.task in TRANSFERS]
    for seed in sorted({record.seed for record in training}):
        chain = {record.task: record for record in training if record.seed == seed}
        whole = all(task in chain for task in tasks if task in TRANSFERS)
        if whole and all("seconds" in record.cost for record in chain.values()):
            chains.append(sum(record.cost["seconds"] for record in chain.values()))
    seconds = interval(chains)
    peaks = [r.cost["peak_memory_mb"] for r in training if "peak_memory_mb" in r.cost]
    return {
        "parameters": first("backbone_parameters"),
        "gmacs": first("backbone_gmacs"),
        "gmacs_image_size": first("backbone_gmacs_image_size"),
        "seconds": None if seconds is None else seconds.mean,
        "teacher_seconds": first("teacher_seconds"),
        "peak_memory_mb": max(peaks, default=None),
    }
