"""What every executor does, wherever its jobs run: in what order, one at a time between runs, and a
record for each cell. Here the jobs are processes of this machine, as many at once as pay."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

from backbones.card import ArtifactError, Card, check_weights
from engine.evidence import not_kept
from engine.interruption import SAME_SIGNAL_SECONDS
from engine.locks import Lock, LockLost
from engine.threads import job_cores
from eval.jobs import TASK_FACTS, Job
from eval.kept_evidence import keep_evidence
from eval.layout import Layout
from eval.plan import Plan
from eval.process import INTERRUPTED_CODES, Ended, Stopped, one_line, run_process
from eval.recording import record_left_behind, record_of_failure, record_of_result
from eval.records import Record, Records, find_final, write_record
from eval.state import read_made_card, state_of
from eval.tables import duration

End = Literal["ok", "diverged", "failed"]
NOT_BEGUN = "not begun"
ELSEWHERE = "by another run"
READY = "ready"
_POLL_SECONDS = 0.5
_END_POLL_SECONDS = 0.02


class Watcher(Protocol):
    """Who is told how it goes; number counts the jobs to do, from 1."""

    def started(self, job: Job, number: int, total: int) -> None: ...

    def waits(self, job: Job, number: int, total: int, *, holder: str) -> None:
        """holder: whoever is at this job already."""

    def again(self, job: Job, number: int, total: int, *, reason: str) -> None:
        """The machine that was at this job is lost; another is looked for."""

    def ended(
        self, job: Job, number: int, total: int, *, end: End, summary: str, took: str
    ) -> None:
        """took: how long, or why no time."""


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
    took: str = NOT_BEGUN
    short: str = ""
    """What is said of a job that waits for this one, where the summary was shown already."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """How the thread of one job tells of it. started: its process runs; again: it is lost, why."""

    started: Callable[[], None]
    again: Callable[[str], None]


class Executor:
    """Runs a plan; other runs may be at work in the same OUT.

    command: what the user typed, for the records. slots: how many jobs are begun at once. A
    subclass says where a job's process runs.
    """

    one_machine = False
    """Whether all jobs share one machine, and so wait for one that has to run alone."""

    def __init__(
        self,
        layout: Layout,
        watcher: Watcher,
        *,
        command: str,
        slots: int,
    ) -> None:
        self.layout = layout
        self.watcher = watcher
        self.command = command
        self.slots = slots
        self.stop = threading.Event()
        self.at_work: set[str] = set()

    def process(self, job: Job, lock: Lock, told: Told) -> Ended:
        """A job's process, to its end. lock: the job's, held by us.

        Raises OSError where it cannot be started, Stopped once `stop` is set and it is gone.
        """
        raise NotImplementedError

    def make_ready(self, job: Job) -> None:
        """What comes before a job's process: nothing of an earlier attempt is taken for its own."""
        if job.result is not None:
            job.work.mkdir(parents=True, exist_ok=True)
            job.result.unlink(missing_ok=True)

    def close(self) -> None:
        """Gives back what belongs to no job; called once all jobs are gone."""

    def execute(self, plan: Plan) -> Outcome:
        """Runs what is to do, in the plan's order as far as `slots` allow; each cell gets a record.

        A job whose predecessor failed or diverged is not begun, and ends as that one did. One that
        another run is at is waited for, and done only if that run did not. Raises
        KeyboardInterrupt, OSError where no record can be written, and LockLost, once the running
        processes are gone; what was finished before it stays.
        """
        outcome = Outcome()
        reasons: dict[str, _Report] = {
            job.id: _Report(end="diverged", summary=f"{job.spec.name} diverged in pretraining")
            for job in plan.jobs
            if job.state == "diverged"
        }
        waiting = [(job, number, len(plan.todo)) for number, job in enumerate(plan.todo, start=1)]
        running: dict[Future[_Report], tuple[Job, int, int]] = {}
        locks = {job.id: self._lock(job) for job in plan.todo}
        held_elsewhere: set[str] = set()

        def ended(position: tuple[Job, int, int], report: _Report, *, began: bool) -> None:
            job = position[0]
            outcome.ends[job.id] = report.end
            if report.end != "ok":
                reason = f"{_what(job)}: {report.summary}" if began else report.summary
                short = f"{_what(job)}, {report.end}: see above" if began else report.short
                reasons[job.id] = _Report(end=report.end, summary=reason, short=short)
            said = report.summary if began else report.short or report.summary
            self.watcher.ended(*position, end=report.end, summary=said, took=report.took)

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
                    if len(running) >= self.slots or unfinished.intersection(job.needs):
                        continue
                    beside = [other for other, *_ in running.values()]
                    if (
                        self.one_machine
                        and beside
                        and (job.runs_alone or any(other.runs_alone for other in beside))
                    ):
                        continue
                    lock = locks[job.id]
                    if not lock.acquire():
                        if job.id not in held_elsewhere:
                            held_elsewhere.add(job.id)
                            self.watcher.waits(*position, holder=lock.holder)
                        continue
                    waiting.remove(position)
                    # Since the plan was made another run may have done it.
                    if (found := self.found(job)) is not None:
                        lock.release()
                        ended(position, found, began=True)
                        break  # which others may have waited for
                    told = Told(
                        started=partial(self.watcher.started, *position),
                        again=partial(self._again, position),
                    )
                    running[pool.submit(self.run, job, lock, told)] = position
                else:
                    for future in _first_done(running, poll=bool(waiting)):
                        ended(running.pop(future), future.result(), began=True)
        except BaseException:
            self._end_running()
            raise
        finally:
            for lock in locks.values():
                lock.release()
        pool.shutdown()
        return outcome

    def _again(self, position: tuple[Job, int, int], reason: str) -> None:
        self.watcher.again(*position, reason=reason)

    def _end_running(self) -> None:
        """Ends the running processes and waits until they are gone, however often it is asked to.

        Not by `pool.shutdown()`: joining a thread that is interrupted counts it as ended
        (https://bugs.python.org/issue45274), and its locks would be given back.
        """
        while True:
            with suppress(KeyboardInterrupt):
                self.stop.set()
                while self.at_work:
                    time.sleep(_END_POLL_SECONDS)
                return

    def found(self, job: Job) -> _Report | None:
        """How a job ended that was done meanwhile; None for one that is still to do."""
        record = None if job.key is None else find_final(self.layout.records, job.key)
        state = state_of(job.kind, record=record, card=_whole_card(job))
        if state == "todo":
            return None
        if record is None and job.key is not None:
            record = record_left_behind(job, command=self.command)
            assert record is not None, "a card that makes a job done knows its accuracy"
            record = self._keep(job, record)
        summary = READY if record is None else summary_of(record)
        return _Report(end=state, summary=summary, took=ELSEWHERE)

    def run(self, job: Job, lock: Lock, told: Told) -> _Report:
        """Runs one job's process and writes its record."""
        self.at_work.add(job.id)
        try:
            if self.stop.is_set():  # asked when we were not seen at work yet
                raise Stopped
            return self._run(job, lock, told)
        finally:
            lock.release()
            self.at_work.discard(job.id)

    def _run(self, job: Job, lock: Lock, told: Told) -> _Report:
        self.make_ready(job)
        try:
            ended = self.process(job, lock, told)
        except LockLost:
            raise
        except OSError as error:
            return self.fail(job, f"could not be started: {error}", NOT_BEGUN)
        took = duration(ended.seconds)
        if ended.returncode in INTERRUPTED_CODES and self.stop.wait(SAME_SIGNAL_SECONDS):
            raise Stopped  # who ends a whole group of processes reaches the jobs before us
        if ended.returncode != 0:
            return self.fail(job, ended.message, took)
        try:
            if job.key is None:
                read_made_card(job.artifact, job.weights_sha256)
                return _Report(end="ok", summary=READY, took=took)
            record = record_of_result(
                job,
                command=self.command,
                message=ended.tail[-1] if ended.tail else None,
                process_seconds=ended.seconds,
            )
        except (ArtifactError, ValueError) as error:
            return self.fail(job, str(error), took)
        record = self._keep(job, record)
        end: End = "diverged" if record.status == "diverged" else "ok"
        return _Report(end=end, summary=summary_of(record), took=took)

    def _keep(self, job: Job, record: Record) -> Record:
        """Keeps what a job saw, then its record: one without it would stay so. Gives the record
        that then stands there; one whose evidence cannot be kept says why."""
        try:
            keep_evidence(job, record, self.layout)
        except (OSError, ValueError) as error:
            lost = {"evidence_sha256": None, "notes": (*record.notes, not_kept(error))}
            record = record.model_copy(update=lost)
        return write_record(self.layout.records, record)

    def fail(self, job: Job, message: str, took: str) -> _Report:
        self.write_failure(job, "failed", message)
        return _Report(end="failed", summary=one_line(message), took=took)

    def skip(self, job: Job, blocker: _Report) -> None:
        self.write_failure(job, blocker.end, f"not begun: {blocker.summary}")

    def write_failure(self, job: Job, end: End, message: str) -> None:
        if job.key is not None:
            record = record_of_failure(job, status=end, message=message, command=self.command)
            write_record(self.layout.records, record)

    def recover(self, plan: Plan, records: Records) -> tuple[Job, ...]:
        """Writes the lost records of pretrainings whose artifacts are there; gives those that
        another run is at, which is about to write theirs itself."""
        lost = (
            job
            for job in plan.jobs
            if job.kind == "classification" and job.state == "ok" and job.key is not None
            if records.final(job.key) is None
        )
        return tuple(job for job in lost if not self._recover(job, wait=False))

    def wait_for_records(self, jobs: Iterable[Job]) -> None:
        """Waits until no other run is at these jobs; what was not written then is recovered."""
        for job in jobs:
            self._recover(job, wait=True)

    def _recover(self, job: Job, *, wait: bool) -> bool:
        """False where another run is at this job, and that is not waited for."""
        lock = self._lock(job)
        try:
            while not lock.acquire():
                if not wait:
                    return False
                time.sleep(_POLL_SECONDS)
            self.found(job)
            return True
        finally:
            lock.release()

    def _lock(self, job: Job) -> Lock:
        return Lock(self.layout.locks / f"{job.id}.lock", inherited=True)


class LocalExecutor(Executor):
    """Runs a plan on this machine, the processor's cores shared among the jobs at work."""

    one_machine = True

    def __init__(
        self, layout: Layout, watcher: Watcher, *, command: str, slots: int | None = None
    ) -> None:
        slots = default_slots() if slots is None else slots
        super().__init__(layout, watcher, command=command, slots=slots)

    def process(self, job: Job, lock: Lock, told: Told) -> Ended:
        told.started()
        alone = self.slots == 1 or job.runs_alone
        return run_process(
            job.command,
            log=self.layout.logs / f"{job.id}.log",
            stop=self.stop,
            lock=lock,
            cores=job_cores() / (1 if alone else self.slots),
            alone=alone,
        )


def _first_done(running: Collection[Future[_Report]], *, poll: bool) -> set[Future[_Report]]:
    """Those that are done, once one is; with `poll` after half a second at the latest."""
    if not running:
        time.sleep(_POLL_SECONDS)
        return set()
    return wait(running, _POLL_SECONDS if poll else None, FIRST_COMPLETED).done


def on_gpu() -> bool:
    """Whether the jobs find a GPU on this machine, known without torch."""
    return Path("/dev/nvidia0").exists()


def default_slots() -> int:
    """One job at a time on a GPU. On a processor, small networks on one core each get more done
    than one network on all of them; four, so that memory does not run out on large machines."""
    if on_gpu():
        return 1
    return max(1, min(4, int(job_cores())))


def summary_of(record: Record) -> str:
    """`mAP 31.2`, or `diverged` and why."""
    if record.status == "diverged":
        return record.message or "the loss is no number any more"
    values = {name: record.metrics.get(name) for name in TASK_FACTS[record.task].told}
    return "  ".join(
        f"{name} {metric.value:.1f}"
        for name, metric in values.items()
        if metric is not None and metric.value is not None
    )


def _whole_card(job: Job) -> Card | None:
    """Of the artifact that a job makes; None where there is none whose weights are right."""
    if not job.makes_artifact:
        return None
    try:
        card = read_made_card(job.artifact, job.weights_sha256)
        check_weights(job.artifact, card)
    except (ArtifactError, OSError):
        return None
    return card


def _what(job: Job) -> str:
    stage = "pretraining" if job.kind == "classification" else "weights"
    return f"{stage} of {job.spec.name}, seed {job.seed}"
