"""The local executor: each job a process, as many at once as pay; a crash costs one cell."""

from __future__ import annotations

import os
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from backbones.card import ArtifactError, read_card
from eval.jobs import Job
from eval.layout import Layout
from eval.plan import Plan
from eval.process import Stop, one_line, run_process
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
    slots: how many jobs run at once, the processor's cores shared among them.
    """

    def __init__(
        self,
        layout: Layout,
        watcher: Watcher,
        *,
        command: str,
        lock: int | None = None,
        slots: int | None = None,
    ) -> None:
        self.layout = layout
        self.watcher = watcher
        self.command = command
        self.lock = lock
        self.slots = default_slots() if slots is None else slots
        self.stop = Stop()

    def execute(self, plan: Plan) -> Outcome:
        """Runs what is to do, in the plan's order as far as `slots` allow; each cell gets a record.

        A job whose predecessor failed or diverged is not begun, and ends as that one did. Raises
        KeyboardInterrupt once the running processes are gone; what was finished before it stays.
        """
        outcome = Outcome()
        reasons: dict[str, _Report] = {
            job.id: _Report(end="diverged", summary=f"{job.spec.name} diverged in pretraining")
            for job in plan.jobs
            if job.state == "diverged"
        }
        waiting = [(job, number, len(plan.todo)) for number, job in enumerate(plan.todo, start=1)]
        running: dict[Future[_Report], tuple[Job, int, int]] = {}

        def ended(position: tuple[Job, int, int], report: _Report, *, began: bool) -> None:
            job = position[0]
            outcome.ends[job.id] = report.end
            if report.end != "ok":
                reason = f"{_what(job)}: {report.summary}" if began else report.summary
                reasons[job.id] = _Report(end=report.end, summary=reason)
            self.watcher.ended(
                *position, end=report.end, summary=report.summary, seconds=report.seconds
            )

        pool = ThreadPoolExecutor(max_workers=self.slots)
        try:
            while waiting or running:
                unfinished = {job.id for job, *_ in [*waiting, *running.values()]}
                for position in list(waiting):
                    job = position[0]
                    blocker = next((reasons[need] for need in job.needs if need in reasons), None)
                    if blocker is not None:
                        waiting.remove(position)
                        self.skip(job, blocker)
                        ended(position, blocker, began=False)
                        break  # which may block others
                    if len(running) < self.slots and not unfinished.intersection(job.needs):
                        waiting.remove(position)
                        self.watcher.started(*position)
                        running[pool.submit(self.run, job)] = position
                else:
                    done, _ = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        ended(running.pop(future), future.result(), began=True)
        except BaseException:
            self._end_running(pool)
            raise
        pool.shutdown()
        return outcome

    def _end_running(self, pool: ThreadPoolExecutor) -> None:
        """Ends the running processes; at once when asked a second time."""
        self.stop.asked.set()
        try:
            pool.shutdown()
        except KeyboardInterrupt:
            self.stop.at_once.set()
            pool.shutdown()

    def run(self, job: Job) -> _Report:
        """Runs one job's process and writes its record."""
        if job.result is not None:
            job.work.mkdir(parents=True, exist_ok=True)
            job.result.unlink(missing_ok=True)  # of an earlier attempt
        try:
            ended = run_process(
                job.command,
                log=self.layout.logs / f"{job.id}.log",
                stop=self.stop,
                lock=self.lock,
                threads=max(1, (os.cpu_count() or 1) // self.slots),
                alone=self.slots == 1,
            )
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


def default_slots() -> int:
    """One job at a time on a GPU. On a processor, small networks on one core each get more done
    than one network on all of them; four, so that memory does not run out on large machines."""
    if Path("/dev/nvidia0").exists():
        return 1
    return min(4, os.cpu_count() or 1)


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
