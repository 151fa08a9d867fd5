"""Work on files spread over processes, which end with the one that started them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

MAX_PROCESSES = 8


def usable_processes() -> int:
    """The cores that this process may use, at most 8."""
    return min(MAX_PROCESSES, len(os.sched_getaffinity(0)))


def as_done(
    function: Callable[[Task], Result], tasks: Sequence[Task], *, processes: int
) -> Iterator[Result]:
    """`function` of every task, in the order in which they are done; 1: in this process.

    function: picklable, of a module. What it raises is raised here, when all that had begun is
    done; the rest is not begun.
    """
    if processes == 1 or len(tasks) < 2:
        yield from map(function, tasks)
        return
    # spawn: this process may hold threads (torch), which a fork would not copy.
    with ProcessPoolExecutor(
        min(processes, len(tasks)),
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_follow_parent,
    ) as pool:
        try:
            for done in as_completed([pool.submit(function, task) for task in tasks]):
                yield done.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _follow_parent() -> None:
    """Leave Ctrl-C, which all processes of a terminal get, to the parent; end when it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's process waits for work for ever when its parent was killed.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
