"""What a Ray worker does for one job: it runs the process, and tells as it goes.

On a node that does not see OUT, everything happens in a folder of its own there: what the job
reads comes with it, and what it leaves behind goes back, checkpoints while it runs.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from backbones.atomic import sha256_file
from benchmarks.cache import cache_folder
from engine.locks import Lock
from eval.errand import Errand, require_same_software, run_errand
from eval.file_transfer import Piece, files_below, pieces, put
from eval.process import Ended

PULL_SECONDS = 30.0
"""How often what has changed goes back."""

_POLL_SECONDS = 0.1


class NodeLost(RuntimeError):
    """The node is not part of the cluster any more; names it."""


@dataclass(frozen=True, kw_only=True)
class Began:
    """node: Ray's id of it. shared: whether it sees OUT."""

    node: str
    host: str
    shared: bool


@dataclass(frozen=True, kw_only=True)
class Kept:
    """The names of all files that there are now, relative to OUT."""

    names: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An errand, and what a node without OUT needs for it.

    out: the driver's. token: a file in it, and what it holds, to find out whether a node sees it;
    None where it is not to look. folders: those that the job writes, its own first. outside: what
    it reads from elsewhere than OUT, files and folders, and what they are called among the inputs.
    inputs: for each file of these the references of its pieces; the job reads them, whatever lies
    at the same place on the node. own: the same for files below OUT; None where every node was
    found to see it. checked: Ray's ids of the nodes that were found to run what we run.
    """

    errand: Errand
    out: Path
    token: tuple[Path, str] | None
    folders: tuple[Path, ...]
    outside: tuple[tuple[Path, str], ...]
    checked: frozenset[str]
    inputs: tuple[tuple[Any, ...], ...] = ()
    own: tuple[tuple[Any, ...], ...] | None = None


_SENT = TypeAdapter(Sent)


def to_text(sent: Sent) -> str:
    """All but `inputs` and `own`, which only Ray itself can carry."""
    return _SENT.dump_json(replace(sent, inputs=(), own=None)).decode()


def from_text(text: str) -> Sent:
    return _SENT.validate_json(text)


Message = Began | Piece | Kept | Ended


def do(sent: Sent, *, node: str, get: Callable[[Any], Piece]) -> Iterator[Message]:
    """Runs the errand; get gives a piece for its reference. Tells when it begins, what it has
    written (on a node that does not see OUT), and how it ended. KeyboardInterrupt ends the process
    first."""
    if node not in sent.checked:  # one that came after the run had begun
        require_same_software(sent.errand.software)
    shared = sees(sent.token)
    if not shared and sent.own is None:
        raise OSError(
            f"node {socket.gethostname()} does not see {sent.out}, which all nodes did when this "
            "run began: run it again, with --storage pull"
        )
    root = cache_folder() / "away" / sha256(str(sent.out).encode()).hexdigest()[:16]
    root = root / sent.errand.job
    lock = Lock(root.with_name(f"{root.name}.lock"))
    while not lock.acquire():  # an earlier one of the same job that is not gone yet
        time.sleep(_POLL_SECONDS)
    try:
        yield Began(node=node, host=socket.gethostname(), shared=shared)
        shutil.rmtree(root, ignore_errors=True)
        _unpack(sent.inputs, root, get)
        errand = _moved(sent, root, shared=shared)
        if shared:
            yield from _watched(errand, lambda: iter(()))
        else:
            _unpack(sent.own or (), root, get)
            known = _make_folders(sent, root)
            yield from _watched(errand, lambda: _changed(sent, root, known))
    finally:
        shutil.rmtree(root, ignore_errors=True)
        lock.release()


def sees(token: tuple[Path, str] | None) -> bool:
    """Whether this machine sees the driver's file, and not another one of the same name."""
    try:
        return token is not None and token[0].read_text() == token[1]
    except OSError:
        return False


def _watched(errand: Errand, changed: Callable[[], Iterator[Message]]) -> Iterator[Message]:
    """The process in a thread, so that we can tell meanwhile and hear that it is to end."""
    stop, done = threading.Event(), threading.Event()
    outcome: list[Ended | BaseException] = []
    parent = os.getppid()

    def work() -> None:
        try:
            outcome.append(run_errand(errand, stop))
        except BaseException as error:
            outcome.append(error)
        finally:
            done.set()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        pull_at = time.monotonic() + PULL_SECONDS
        while not done.wait(_POLL_SECONDS):
            if os.getppid() != parent:  # the node's raylet died, and nobody will ask for us
                raise NodeLost(socket.gethostname())
            if time.monotonic() >= pull_at:
                yield from changed()
                pull_at = time.monotonic() + PULL_SECONDS
    finally:
        stop.set()
        thread.join()
    (ended,) = outcome
    yield from changed()
    if isinstance(ended, BaseException):
        raise ended
    yield ended


def _moved(sent: Sent, root: Path, *, shared: bool) -> Errand:
    """The errand with what came from outside of OUT in the place where it was put, and all paths
    below OUT in `root`, where OUT is not `shared`. OSError for what no argument names, as a recipe
    may, where something else lies at its place here."""
    out = str(sent.out)
    places = {str(path): str(root / name) for path, name in sent.outside}

    def place(path: str) -> str | None:
        if path in places:
            return places[path]
        if not shared and (path == out or path.startswith(f"{out}/")):
            return f"{root}{path.removeprefix(out)}"
        return None

    def move(text: str) -> str:
        if (found := place(text)) is not None:
            return found
        name, at, file = text.partition("@")  # of a network, and its weights
        found = place(file) if at else None
        return text if found is None else f"{name}@{found}"

    errand = sent.errand
    moved = tuple(map(move, errand.arguments))
    for path, name in sent.outside:
        if not any(text.endswith(places[str(path)]) for text in moved):
            _require_same(path, root / name)
    if shared:
        return replace(errand, arguments=moved)
    log = root / errand.log.relative_to(sent.out)
    return replace(errand, arguments=moved, log=log, lock=root / "process.lock")


def _require_same(path: Path, copy: Path) -> None:
    for file in files_below(copy):
        here = path / file.relative_to(copy)
        if not here.is_file() or sha256_file(here) != sha256_file(file):
            raise OSError(
                f"node {socket.gethostname()} has no {here}, or another one than the driver: a "
                "recipe names it, so the node needs it at the same place"
            )


def _unpack(inputs: tuple[tuple[Any, ...], ...], root: Path, get: Callable[[Any], Piece]) -> None:
    for references in inputs:
        for reference in references:  # one at a time: no whole file is in memory
            put(get(reference), root)


def _make_folders(sent: Sent, root: Path) -> dict[str, tuple[int, int]]:
    """Makes those that the job writes to; gives what is in them, to see what changes."""
    work, *artifact = (root / folder.relative_to(sent.out) for folder in sent.folders)
    work.mkdir(parents=True, exist_ok=True)
    for folder in artifact:  # which is made whole, or not at all
        folder.parent.mkdir(parents=True, exist_ok=True)
    return {name: _stamp(file) for name, file in _present(sent, root).items()}


def _changed(sent: Sent, root: Path, known: dict[str, tuple[int, int]]) -> Iterator[Message]:
    """What was written since the last time, and then what there is."""
    present = _present(sent, root)
    for name, file in present.items():
        try:
            stamp = _stamp(file)
        except FileNotFoundError:
            continue
        if known.get(name) != stamp:
            yield from pieces(file, name)
            known[name] = stamp
    yield Kept(names=frozenset(present))


def _present(sent: Sent, root: Path) -> dict[str, Path]:
    places = [root / folder.relative_to(sent.out) for folder in sent.folders]
    places.append(root / sent.errand.log.relative_to(sent.out))
    return {str(f.relative_to(root)): f for place in places for f in files_below(place)}


def _stamp(file: Path) -> tuple[int, int]:
    stat = file.stat()
    return stat.st_size, stat.st_mtime_ns
