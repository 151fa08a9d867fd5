"""The local executor: one job after the other, each a process; a crash costs one cell."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, Protocol

from backbones.card import ArtifactError, read_card
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan
from eval.process import one_line, run_process
from eval.recording import record_of_card, record_of_failure, record_of_result
from eval.records import Record, Records, write_record

End = Literal["ok", "diverged", "failed"]


class Watcher(Protocol):
    """Who is told how it goes; number counts the jobs to do, from 1."""

    def started(self, job: Job, number: int, total: int) -> None: ...

    def ended(
        self, job: Job, number: int, total: int, *, end: End, summary: str, seconds: float | None
    ) -> None:
        """seconds: None for a job that never began."""


@dataclass(kw_only=True)
class Outcome:
    """How the jobs ended that were not done before, by id."""

    ends: dict[str, End] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(job_id for job_id, end in self.ends.items() if end == "failed")


@dataclass(frozen=True, kw_only=True)
class _Report:
    end: End
    summary: str
    seconds: float | None = None


class LocalExecutor:
    """Runs a plan on this machine.

    command: what the user typed, for the records. lock: a descriptor that the jobs inherit.
    """

    def __init__(
        self, layout: Layout, watcher: Watcher, *, command: str, lock: int | None = None
    ) -> None:
        self.layout = layout
        self.watcher = watcher
        self.command = command
        self.lock = lock

    def execute(self, plan: Plan) -> Outcome:
        """Runs what is to do, in the plan's order, and writes a record for each cell.

        A job whose predecessor failed or diverged is not begun, and ends as that one did. Raises
        KeyboardInterrupt once the running process is gone; what was finished before it stays.
        """
        outcome = Outcome()
        reasons: dict[str, _Report] = {
            job.id: _Report(end="diverged", summary=f"{job.spec.name} diverged in pretraining")
            for job in plan.jobs
            if job.state == "diverged"
        }
        for number, job in enumerate(plan.todo, start=1):
            position = (job, number, len(plan.todo))
            blocker = next((reasons[need] for need in job.needs if need in reasons), None)
            if blocker is None:
                self.watcher.started(*position)
                report = self.run(job)
            else:
                report = blocker
                self.skip(job, blocker)
            outcome.ends[job.id] = report.end
            if report.end != "ok":
                reason = report.summary if blocker else f"{_what(job)}: {report.summary}"
                reasons[job.id] = _Report(end=report.end, summary=reason)
            self.watcher.ended(
                *position, end=report.end, summary=report.summary, seconds=report.seconds
            )
        return outcome

    def run(self, job: Job) -> _Report:
        """Runs one job's process and writes its record."""
        if job.result is not None:
            job.work.mkdir(parents=True, exist_ok=True)
            job.result.unlink(missing_ok=True)  # of an earlier attempt
        try:
            ended = run_process(job.command, log=self.layout.logs / f"{job.id}.log", lock=self.lock)
        except OSError as error:
            return self.fail(job, f"could not be started: {error}", None)
        if ended.returncode != 0:
            return self.fail(job, ended.message, ended.seconds)
        try:
            if job.key is None:
                read_card(job.artifact)
                return _Report(end="ok", summary="ready", seconds=ended.seconds)
            record = record_of_result(
                job, command=self.command, message=ended.tail[-1] if ended.tail else None
            )
        except (ArtifactError, ValueError) as error:
            return self.fail(job, str(error), ended.seconds)
        record = write_record(self.layout.records, record)
        end: End = "diverged" if record.status == "diverged" else "ok"
        return _Report(end=end, summary=summary_of(record), seconds=ended.seconds)

    def fail(self, job: Job, message: str, seconds: float | None) -> _Report:
        self.write_failure(job, "failed", message)
        return _Report(end="failed", summary=one_line(message), seconds=seconds)

    def skip(self, job: Job, blocker: _Report) -> None:
        self.write_failure(job, blocker.end, f"not begun: {blocker.summary}")

    def write_failure(self, job: Job, end: End, message: str) -> None:
        if job.key is not None:
            record = record_of_failure(job, status=end, message=message, command=self.command)
            write_record(self.layout.records, record)

    def recover(self, plan: Plan, records: Records) -> None:
        """Writes the lost records of pretrainings whose artifacts are there."""
        for job in plan.jobs:
            if job.kind == "classification" and job.state == "ok" and job.key is not None:
                record = record_of_card(job, command=self.command)
                if records.final(job.key) is None and record is not None:
                    write_record(self.layout.records, record)


MAIN_METRICS = {
    "classification": ("top1", "top5"),
    "detection": ("mAP",),
    "segmentation": ("mIoU", "aAcc"),
}


def summary_of(record: Record) -> str:
    """`mAP 31.2`, or `diverged` and why."""
    if record.status == "diverged":
        return record.message or "the loss is no number any more"
    values = {name: record.metrics.get(name) for name in MAIN_METRICS[record.task]}
    return "  ".join(
        f"{name} {metric.value:.1f}"
        for name, metric in values.items()
        if metric is not None and metric.value is not None
    )


def _what(job: Job) -> str:
    stage = "pretraining" if job.kind == "classification" else "weights"
    return f"{stage} of {job.spec.name}, seed {job.seed}"
