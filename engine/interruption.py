"""SIGTERM, SIGHUP and Ctrl-C in a stage: the step in hand is finished, then the stage ends.

The first signal raises `Interrupted` in the main thread: at once, but within `step_in_hand` only
after it. A second signal, a second later or more, ends the process and its workers on the spot.
Imports no torch.
"""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STEP_SECONDS = 6.0
"""How long a step may go on after the signal. Then it is given up, and what stays is the
checkpoint before it: who asked to end does not wait longer than ten seconds."""

SAME_SIGNAL_SECONDS = 1.0
"""Signals that follow each other sooner are one: who ends a whole control group, as batch systems
and systemd do, reaches a stage itself, and once more by way of the program that started it."""

DRIVER_PIPE = "TRICKLE_DRIVER_PIPE"
"""Environment variable: number of an inherited descriptor whose other end the program that started
the stage holds open, and never writes to."""

_WORKER_SECONDS = 8  # that a worker process outlives SIGTERM, should nobody end it before
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """The stage was asked to end by a signal."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number

    @property
    def exit_code(self) -> int:
        """As a shell gives it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


class _Handling:
    """owner: the process that handles signals; workers that it forks inherit the handlers."""

    owner: int | None = None
    received: int | None = None
    since = 0.0
    in_step = False


@contextmanager
def handling_signals() -> Iterator[None]:
    """Within the block signals are handled as this module says.

    Also when the other end of DRIVER_PIPE is closed, as by SIGTERM. Only the main thread may
    handle signals: in another the block changes nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # nohup ignores SIGHUP on purpose.
    numbers = [n for n in _SIGNALS if signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, _on_signal) for n in numbers}
    before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _on_timeout)
    before[signal.SIGCHLD] = signal.getsignal(signal.SIGCHLD)  # torch sets it once per process
    _Handling.owner, _Handling.received = os.getpid(), None
    _watch_driver()
    try:
        yield
    finally:
        _Handling.owner = _Handling.received = None
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def step_in_hand(agree: Callable[[bool], bool] | None = None) -> Iterator[None]:
    """Within the block a first signal waits for its end, STEP_SECONDS at most; then Interrupted.

    agree: of several processes that go step by step together, whether one of them was asked to
    end; they all end then, after the same step.
    """
    _Handling.in_step = True
    try:
        yield
    finally:
        _Handling.in_step = False
        asked = _Handling.received is not None
        if asked:  # else the timer is not ours
            signal.setitimer(signal.ITIMER_REAL, 0)
    if asked if agree is None else agree(asked):
        raise Interrupted(_Handling.received or signal.SIGTERM)


def outlive_signals(worker_id: int) -> None:
    """Makes a data loader's worker survive a signal to the whole process group: the step in hand
    needs it, and the process that it works for ends it."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, lambda number, frame: signal.alarm(_WORKER_SECONDS))


def end_workers() -> None:
    """Ends this process's workers now: one that hangs would be waited for."""
    import multiprocessing  # late: whoever only asks for help has no workers

    _be_deaf_to_workers()
    workers = multiprocessing.active_children()
    for worker in workers:
        worker.kill()
    for worker in workers:
        worker.join(1)


def _be_deaf_to_workers() -> None:
    """torch raises in the main thread where a worker dies; from here on that is as it should be."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def _on_signal(number: int, frame: FrameType | None) -> None:
    if os.getpid() != _Handling.owner:
        # A forked worker, such as those in which mmdet matches boxes: who ends it waits for it.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    if _Handling.received is not None:
        if time.monotonic() - _Handling.since > SAME_SIGNAL_SECONDS:
            end_workers()
            os._exit(128 + number)
        return
    _Handling.received, _Handling.since = number, time.monotonic()
    _be_deaf_to_workers()  # the signal may have been for them too
    if not _Handling.in_step:
        raise Interrupted(number)
    signal.setitimer(signal.ITIMER_REAL, STEP_SECONDS)


def _on_timeout(number: int, frame: FrameType | None) -> None:
    if _Handling.received is not None:
        raise Interrupted(_Handling.received)


def _watch_driver() -> None:
    descriptor = os.environ.pop(DRIVER_PIPE, None)
    # A program in between (torchrun) hands on the variable, and not the descriptor.
    if descriptor is not None and _is_pipe(int(descriptor)):
        threading.Thread(target=_end_with_driver, args=(int(descriptor),), daemon=True).start()


def _is_pipe(descriptor: int) -> bool:
    try:
        return stat.S_ISFIFO(os.fstat(descriptor).st_mode)
    except OSError:
        return False


def _end_with_driver(descriptor: int) -> None:
    os.read(descriptor, 1)  # returns when the last process that could write is gone
    # What is said from here on nobody reads, and writing it would fail.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number in (1, 2):
        os.dup2(nowhere, number)
    if _Handling.owner is not None and _Handling.received is None:
        os.kill(os.getpid(), signal.SIGTERM)
