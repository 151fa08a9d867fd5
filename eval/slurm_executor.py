"""The jobs of a plan as jobs of Slurm, sent by submitit; those that are ready together as an array.

The process that sends them waits for them. Where that is killed, they go on; the next call finds
them by the notes in OUT/logs/slurm and waits for these instead of sending others.
"""

from __future__ import annotations

import math
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal

from backbones.atomic import write_text_atomic
from engine.locks import Lock, LockLost
from eval.errand import Errand, errand_of, require_same_software, run_errand, software
from eval.execute import Executor, Told, Watcher
from eval.jobs import Job
from eval.layout import Layout
from eval.process import INTERRUPTED_CODES, REPOSITORY, Ended, Stopped
from eval.termination import Asked

CLUSTER: Literal["slurm", "local"] = "slurm"

ATTEMPTS = 20
"""How often a job is sent that Slurm ends, at its time limit for example; it goes on from its last
checkpoint each time."""

DAY = 24 * 60
_MOST_AT_ONCE = 256
_GATHER_SECONDS = 0.5
_POLL_SECONDS = 0.5
_ASK_SECONDS = 30.0
_END_SECONDS = 40.0  # Slurm's own KillWait is 30
_RESULT_SECONDS = 15.0  # so long a result may be on its way through a shared file system
_LOST_SECONDS = 60.0
_LOST = "LOST (squeue does not list it, and sacct knows no end of it)"
_OVER = (
    *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "DEADLINE", "OUT_OF_MEMORY"),
    *("PREEMPTED", "NODE_FAIL", "BOOT_FAIL", "LOST"),
)
# The last two are what submitit has Slurm send before a time limit, by SUBMITIT_PREEMPT_SIGNAL.
_ASKS_TO_END = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_ENDED_BY_SLURM = INTERRUPTED_CODES | {
    code for number in _ASKS_TO_END for code in (-number, 128 + number)
}


@dataclass(frozen=True, kw_only=True)
class SlurmOptions:
    """What each job asks Slurm for. minutes: its time limit. more: further options of `sbatch`, by
    submitit's names, such as account, qos, constraint."""

    partition: str | None = None
    minutes: int = DAY
    gpus: int = 1
    cpus: int = 4
    more: dict[str, str] = field(default_factory=dict)

    def parameters(self) -> dict[str, Any]:
        """As submitit's AutoExecutor takes them."""
        wanted: dict[str, Any] = {
            "name": "trickle",
            "timeout_min": self.minutes,
            "cpus_per_task": self.cpus,
            "slurm_setup": [f"export PYTHONPATH={REPOSITORY}:$PYTHONPATH"],
        }
        if self.gpus:
            wanted["gpus_per_node"] = self.gpus
        if self.partition is not None:
            wanted["slurm_partition"] = self.partition
        # What a preemption or a lost node ends we send again ourselves.
        wanted["slurm_additional_parameters"] = {"no_requeue": True, **self.more}
        return wanted


def sbatch_script(options: SlurmOptions, layout: Layout, jobs: int) -> str:
    """What would be submitted for an array of that many jobs. Only submitit's own function knows
    that, and it has no public name."""
    from submitit.slurm.slurm import _make_sbatch_string

    wanted = {
        name.removeprefix("slurm_"): value
        for name, value in options.parameters().items()
        if name not in ("name", "timeout_min")
    }
    script: str = _make_sbatch_string(
        command=f"python -u -m submitit.core._submit {_folder(layout)}",
        folder=_folder(layout),
        job_name="trickle",
        time=options.minutes,
        map_count=jobs if jobs > 1 else None,
        **wanted,
    )
    return script


def run_checked(errand: Errand) -> Ended:
    """What a job of Slurm does. Raises OtherSoftware where it does not run what was sent.

    The signal that Slurm sends before the time limit, or a preemption's, ends the errand as Ctrl-C
    does, so that it writes a checkpoint; its return code then is 128 + the signal.
    """
    stop = threading.Event()
    asked: list[int] = []

    def on_signal(number: int, frame: FrameType | None) -> None:
        asked.append(number)
        stop.set()

    # In place of submitit's, which make a failure of the one and nothing of the other. Not taken
    # back: the result is still to be written.
    for number in _ASKS_TO_END:
        signal.signal(number, on_signal)
    require_same_software(errand.software)
    try:
        return run_errand(errand, stop)
    except Stopped:
        host = socket.gethostname()
        return Ended(returncode=128 + asked[0], seconds=0.0, tail=(), host=host)


class SlurmExecutor(Executor):
    """cluster: where submitit sends the jobs; "local" means processes of this machine.

    Raises ValueError where there is no Slurm, or it does not know an option.
    """

    def __init__(
        self,
        layout: Layout,
        watcher: Watcher,
        *,
        command: str,
        options: SlurmOptions,
        cluster: Literal["slurm", "local"] | None = None,
    ) -> None:
        import submitit

        cluster = cluster or CLUSTER
        lacking = [name for name in ("sbatch", "srun") if shutil.which(name) is None]
        if cluster == "slurm" and lacking:
            raise ValueError(
                f"--executor slurm: no `{'` and no `'.join(lacking)}` on this machine: run it on "
                "one that may send jobs to Slurm, such as a cluster's login node"
            )
        super().__init__(layout, watcher, command=command, slots=_MOST_AT_ONCE)
        self.options = options
        self._software = software()
        self._folder = _folder(layout)
        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            self._submitit = submitit.AutoExecutor(folder=self._folder, cluster=cluster)
            self._submitit.update_parameters(**self._parameters(cluster))
        except (RuntimeError, TypeError, ValueError, NameError) as error:
            raise ValueError(
                f"--executor slurm: {str(error).strip()}; run it on a machine that has `sbatch` "
                "and `srun`, with options that it knows"
            ) from error
        self._cluster = cluster
        self._class = submitit.LocalJob if cluster == "local" else submitit.SlurmJob
        self._gathering = threading.Lock()
        self._waiting: list[tuple[Errand, list[Any]]] = []
        self._asking = threading.Lock()
        self._asked = time.monotonic()
        self._queued: dict[str, str] | None = None
        self._missed: dict[str, float] = {}

    def _parameters(self, cluster: str) -> dict[str, Any]:
        wanted = self.options.parameters()
        if cluster == "local":  # which has no GPUs to give away
            wanted = {name: wanted[name] for name in ("name", "timeout_min", "cpus_per_task")}
        return wanted

    def make_ready(self, job: Job) -> None:
        if not self._note(job).exists():  # else what was sent may have ended meanwhile
            super().make_ready(job)

    def process(self, job: Job, lock: Lock, told: Told) -> Ended:
        for _ in range(ATTEMPTS):
            sent = self._sent_before(job) or self._send(job)
            try:
                ended = self._wait(job, sent, lock, told)
            except (Stopped, LockLost):
                self._cancel(sent)
                self._note(job).unlink(missing_ok=True)
                raise
            self._note(job).unlink(missing_ok=True)
            if isinstance(ended, Ended):
                return ended
            told.again(ended)
        reason = f"error: Slurm ended it {ATTEMPTS} times, at last: {ended}"
        return Ended(returncode=1, seconds=0.0, tail=(reason,))

    def _note(self, job: Job) -> Path:
        """Says under which number a job was sent, until its end is known."""
        return self._folder / f"{job.id}.sent"

    def _sent_before(self, job: Job) -> Any | None:
        try:
            return self._class(self._folder, self._note(job).read_text().strip())
        except OSError:
            return None

    def _send(self, job: Job) -> Any:
        """Sends a job, together with all that become ready in the same moment."""
        errand = errand_of(
            job, self.layout, cores=float(self.options.cpus), software=self._software
        )
        box: list[Any] = []
        self._waiting.append((errand, box))
        time.sleep(_GATHER_SECONDS)
        with self._gathering:
            batch, self._waiting = self._waiting, []
            if batch:
                self._submit(batch)
        if isinstance(box[0], BaseException):
            raise OSError(f"sbatch refused it: {box[0]}") from box[0]
        return box[0]

    def _submit(self, batch: list[tuple[Errand, list[Any]]]) -> None:
        try:
            before = os.environ.get("PYTHONPATH")
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(REPOSITORY), before]))
            try:
                with self._submitit.batch():
                    sent = [self._submitit.submit(run_checked, errand) for errand, _ in batch]
            finally:
                if before is None:
                    del os.environ["PYTHONPATH"]
                else:
                    os.environ["PYTHONPATH"] = before
            for (errand, box), job in zip(batch, sent, strict=True):
                write_text_atomic(self._folder / f"{errand.job}.sent", f"{job.job_id}\n")
                box.append(job)
        except Exception as error:
            for _, box in batch:
                if not box:
                    box.append(error)

    def _wait(self, job: Job, sent: Any, lock: Lock, told: Told) -> Ended | str:
        """How it ended, or, where Slurm ended it, what Slurm says."""
        began = False
        over = math.inf
        while True:
            if self.stop.is_set():
                raise Stopped
            lock.check()
            if not began and self._log(job).exists():
                began = True
                told.started()
            if sent.paths.result_pickle.exists():
                if not began:
                    told.started()
                return self._result(sent)
            if (state := self._state(sent)).startswith(_OVER):
                over = min(over, time.monotonic())
                if time.monotonic() > over + _RESULT_SECONDS:
                    return f"Slurm's job {sent.job_id} is {state}, without a result"
            time.sleep(_POLL_SECONDS)

    def _log(self, job: Job) -> Path:
        return self.layout.locks / f"{job.id}.process.lock"

    def _result(self, sent: Any) -> Ended | str:
        outcome, result = sent._get_outcome_and_result()
        if outcome == "error":
            lines = str(result).strip().splitlines() or ["nothing said"]
            return Ended(returncode=1, seconds=0.0, tail=(f"error: {lines[-1]}",))
        assert isinstance(result, Ended), "what was sent gives that"
        if result.returncode in _ENDED_BY_SLURM:
            return f"{result.host} ended it (signal)"
        return result

    def _state(self, sent: Any) -> str:
        """Slurm is asked for all jobs together, every half minute: squeue, which lists what waits
        and runs also where nothing is accounted, and sacct for how the others ended."""
        if self._cluster == "local":
            alive = sent.state == "RUNNING" or _is_alive(int(sent.job_id))
            return "RUNNING" if alive else "CANCELLED"
        with self._asking:
            if time.monotonic() >= self._asked + _ASK_SECONDS:
                sent.watcher.update()
                self._queued = _queued()
                self._asked = time.monotonic()
        job = str(sent.job_id)
        accounted = str(sent.get_info(mode="cache").get("State", "PENDING"))
        if accounted.startswith(_OVER) or self._queued is None:  # None: it may well be there
            return accounted
        if job in self._queued:
            self._missed.pop(job, None)
            return self._queued[job]
        since = self._missed.setdefault(job, time.monotonic())
        return _LOST if time.monotonic() > since + _LOST_SECONDS else accounted

    def _cancel(self, sent: Any) -> None:
        with suppress(Exception):  # it may be over already
            sent.cancel()
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and not Asked.again:
            if sent.paths.result_pickle.exists() or self._state(sent).startswith(_OVER):
                return
            time.sleep(_POLL_SECONDS)


def _folder(layout: Layout) -> Path:
    return layout.logs / "slurm"


def _queued() -> dict[str, str] | None:
    """The states of all our jobs that Slurm still holds by their numbers; None without an answer.

    Of all, not of those that are looked for: asked for one that is gone squeue fails, as it does
    where it cannot ask."""
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}"]
    try:
        done = subprocess.run(
            [*command, "--format=%i %T"], capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return None
    lines = (line.split() for line in done.stdout.splitlines())
    return {fields[0]: fields[1] for fields in lines if len(fields) == 2}


def _is_alive(process: int) -> bool:
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    return fields[0] != "Z"
