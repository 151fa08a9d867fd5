"""The jobs of a plan on the nodes of a Ray cluster, as many at once as it has room for."""

from __future__ import annotations

import itertools
import re
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal
from weakref import WeakValueDictionary

from engine.locks import Lock
from eval.architecture_of_record import architecture_of
from eval.errand import errand_of, software
from eval.execute import Executor, Told, Watcher
from eval.file_transfer import Incoming, Piece, files_below, pieces
from eval.jobs import Job
from eval.layout import Layout
from eval.process import INTERRUPTED_CODES, REPOSITORY, Ended, Stopped
from eval.ray_cluster import check_nodes, connect, nodes_alive, share_of, working_nodes
from eval.ray_task import Began, Kept, NodeLost, Sent, to_text
from eval.records import Record
from eval.termination import Asked

Storage = Literal["auto", "pull"]

ATTEMPTS = 8
"""How often a job is begun whose machines are lost one after the other; spot machines often are."""

_MOST_AT_ONCE = 256
_CHECKPOINT = re.compile(r"iter_\d+\.safetensors")  # `engine.checkpoints`, which loads torch
_POLL_SECONDS = 0.5
_LOOK_SECONDS = 2.0
_END_SECONDS = 15.0
_PIECES_AHEAD = 4
_ROOM = 1.25
"""Of the memory that such a job needed before."""


class Lost(Exception):
    """What ran the job is gone, and the job may be begun elsewhere; says what."""


class RayExecutor(Executor):
    """address, storage: as `--ray-address` and `--storage` say. records: of OUT, for the memory
    that jobs need. Raises ValueError where there is no cluster, or a node that runs something else.
    """

    def __init__(
        self,
        layout: Layout,
        watcher: Watcher,
        *,
        command: str,
        address: str | None = None,
        storage: Storage = "auto",
        records: Iterable[Record] = (),
    ) -> None:
        super().__init__(layout, watcher, command=command, slots=_MOST_AT_ONCE)
        self._token = layout.locks / f"{uuid.uuid4().hex}.token"
        self._connected = connect(address)
        self._stored: WeakValueDictionary[tuple[object, ...], _Stored] = WeakValueDictionary()
        self._storing = threading.Lock()
        self._alive: frozenset[str] = frozenset()
        self._looked = -_LOOK_SECONDS
        self._looking = threading.Lock()
        try:
            nodes = working_nodes()
            self._share = share_of(nodes)
            self._checked = frozenset(node["NodeID"] for node in nodes)
            self._memory = memory_by_kind(records, nodes)
            layout.locks.mkdir(parents=True, exist_ok=True)
            self._token.write_text(self._token.name)
            seen = check_nodes(nodes, (self._token, self._token.name))
            self._pull = storage == "pull" or not seen
            self._look_for = None if storage == "pull" else (self._token, self._token.name)
            self._software = software()
            self._task = _make_task()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        import ray

        with suppress(OSError):
            self._token.unlink()
        if self._connected:
            ray.shutdown()

    def process(self, job: Job, lock: Lock, told: Told) -> Ended:
        for attempt in itertools.count(1):
            try:
                return self._attempt(job, lock, told)
            except Lost as lost:
                if attempt == ATTEMPTS:
                    reason = f"error: {lost}; begun {ATTEMPTS} times, each time lost"
                    return Ended(returncode=1, seconds=0.0, tail=(reason,))
                told.again(str(lost))
        raise AssertionError("it counts without end")

    def _attempt(self, job: Job, lock: Lock, told: Told) -> Ended:
        import ray

        sent = self._sent(job)
        inputs = self._inputs(sent)
        own = self._own(job) if self._pull else None
        running = self._task.options(**self._resources(job)).remote(
            str(REPOSITORY),
            to_text(sent),
            _references(inputs),
            None if own is None else _references(own),
        )
        incoming = Incoming(self.layout.root, job.artifact if job.makes_artifact else None)
        try:
            return self._follow(job, lock, told, running, incoming)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, NodeLost):
                raise Lost(f"{error.cause} is lost") from error
            # Of our own code there: it could not start the process, or ours is another there.
            return Ended(returncode=1, seconds=0.0, tail=(f"error: {error.cause or error}",))
        finally:
            del inputs, own  # what it needed may leave the object store
            incoming.close()
            self._end(running)

    def _follow(self, job: Job, lock: Lock, told: Told, running: Any, incoming: Incoming) -> Ended:
        """Hears what the task says until it has ended."""
        import ray

        began: Began | None = None
        ended: Ended | None = None
        while True:
            if self.stop.is_set():
                raise Stopped
            lock.check()
            ready, _ = ray.wait([running], timeout=_POLL_SECONDS, fetch_local=False)
            if not ready:
                if began is not None and began.node not in self._nodes():
                    raise Lost(f"{began.host} is lost")
                continue
            try:
                message = ray.get(next(running))
            except StopIteration:
                if ended is None:
                    raise Lost("its task ended without a word") from None
                return ended
            except ray.exceptions.TaskCancelledError:
                raise Lost("it was cancelled") from None
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:
                raise Lost(_in_words(error, began)) from error
            match message:
                case Began():
                    began = message
                    told.started()
                case Piece():
                    incoming.put(message)
                case Kept():
                    incoming.kept(message.names)
                    self._forget(job, message.names)
                case Ended():
                    if message.returncode in INTERRUPTED_CODES:
                        raise Lost(f"{message.host} ended it (signal)")
                    ended = message

    def _end(self, running: Any) -> None:
        """Ends a task that is not over, and waits until it is."""
        import ray

        if running.is_finished():
            return
        with suppress(ray.exceptions.RayError, TypeError):
            ray.cancel(running)
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline and not Asked.again:
            try:
                if ray.wait([running], timeout=_POLL_SECONDS, fetch_local=False)[0]:
                    ray.get(next(running))
            except (StopIteration, ray.exceptions.RayError):
                return
        with suppress(ray.exceptions.RayError, TypeError):
            ray.cancel(running, force=True)

    def _nodes(self) -> frozenset[str]:
        """The nodes that are alive, asked for every two seconds by one of the jobs' threads."""
        with self._looking:
            if time.monotonic() >= self._looked + _LOOK_SECONDS:
                self._alive = frozenset(node["NodeID"] for node in nodes_alive())
                self._looked = time.monotonic()
            return self._alive

    def _resources(self, job: Job) -> dict[str, Any]:
        share = self._share
        memory = self._memory.get((job.kind, job.spec.architecture))
        return {
            # Beside one that has to run alone no other job fits; so do the largest nodes only.
            "num_cpus": share.whole if job.runs_alone else share.cpus,
            "num_gpus": share.gpus,
            **({} if memory is None else {"memory": memory}),
            "name": job.id,
        }

    def _sent(self, job: Job) -> Sent:
        cores = self._share.whole if job.runs_alone else self._share.cpus
        errand = errand_of(job, self.layout, cores=cores, software=self._software)
        written = (job.work, *((job.artifact,) if job.makes_artifact else ()))
        return Sent(
            errand=errand,
            out=self.layout.root,
            token=self._look_for,
            folders=written,
            outside=_outside(job, self.layout.root),
            checked=self._checked,
        )

    def _inputs(self, sent: Sent) -> list[_Stored]:
        """Puts what the job reads from outside of OUT into Ray's object store."""
        return [
            self._store(file, str(name / file.relative_to(path)))
            for path, name in ((path, Path(name)) for path, name in sent.outside)
            for file in files_below(path)
        ]

    def _own(self, job: Job) -> list[_Stored]:
        """The same for what it reads below OUT: what is there of its own work (never of the
        artifact that it makes), and what others have made."""
        root = self.layout.root
        below = [path for path in (job.work, *job.reads) if path.is_relative_to(root)]
        files = [file for path in below for file in files_below(path)]
        return [self._store(file, str(file.relative_to(root))) for file in files]

    def _store(self, file: Path, name: str) -> _Stored:
        import ray

        stat = file.stat()
        key = (name, file, stat.st_size, stat.st_mtime_ns)
        with self._storing:  # one file at a time
            if (found := self._stored.get(key)) is None:
                found = _Stored(tuple(ray.put(piece) for piece in pieces(file, name)))
                self._stored[key] = found
            return found

    def _forget(self, job: Job, present: frozenset[str]) -> None:
        """Removes checkpoints that the job itself has removed where it runs."""
        for file in list(job.work.rglob("iter_*")):  # of folds too
            name = str(file.relative_to(self.layout.root))
            if _CHECKPOINT.fullmatch(file.name) and name not in present:
                file.unlink(missing_ok=True)


class _Stored:
    """A file in Ray's object store, as long as somebody holds this."""

    def __init__(self, references: tuple[Any, ...]) -> None:
        self.references = references


def _references(stored: list[_Stored]) -> tuple[tuple[Any, ...], ...]:
    return tuple(found.references for found in stored)


def _outside(job: Job, out: Path) -> tuple[tuple[Path, str], ...]:
    """What the job reads from elsewhere than OUT, and its name in a node's folder, which is the
    same for all jobs."""
    paths = [path for path in job.reads if not path.is_relative_to(out)]
    return tuple(
        (path, f"inputs/{sha256(str(path).encode()).hexdigest()[:16]}/{path.name}")
        for path in paths
    )


def _make_task() -> Any:
    """The remote function; sent as it stands here, so that it can say where Trickle lies."""
    import ray

    def trickle_job(
        folder: str,
        text: str,
        inputs: tuple[tuple[Any, ...], ...],
        own: tuple[tuple[Any, ...], ...] | None,
    ) -> Any:
        import sys
        from dataclasses import replace

        import ray

        if folder not in sys.path:
            sys.path.append(folder)
        from eval.ray_task import do, from_text

        sent = replace(from_text(text), inputs=inputs, own=own)
        node = ray.get_runtime_context().get_node_id()
        yield from do(sent, node=node, get=ray.get)

    options: dict[str, Any] = {
        "num_returns": "streaming",
        "max_retries": 0,  # we begin it again ourselves, from its last checkpoint
        "_generator_backpressure_num_objects": _PIECES_AHEAD,
    }
    return ray.remote(**options)(trickle_job)


def _in_words(error: Exception, began: Began | None) -> str:
    where = "its machine" if began is None else began.host
    return f"{where} is lost ({type(error).__name__})"


def memory_by_kind(
    records: Iterable[Record], nodes: list[dict[str, Any]]
) -> dict[tuple[str, str], int]:
    """Bytes of main memory by kind of job and architecture, where records of jobs without a GPU
    tell; never more than the largest node has, on which it then runs alone."""
    most = max(int(node["Resources"].get("memory", 0)) for node in nodes)
    found: dict[tuple[str, str], int] = {}
    for record in records:
        measured = record.cost.get("peak_memory_mb")
        if measured is None or record.environment.get("accelerator", "none") != "none":
            continue
        if (architecture := architecture_of(record)) is None:
            continue
        key = (record.task, architecture)
        found[key] = max(found.get(key, 0), int(measured * _ROOM * 2**20))
    return {key: min(value, most) for key, value in found.items() if most}
