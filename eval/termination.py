"""Ctrl-C, SIGTERM and SIGHUP while we run jobs: an exception, so that no process outlives us."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from engine.interruption import SAME_SIGNAL_SECONDS

_LOST_SECONDS = 10.0


class Terminated(KeyboardInterrupt):
    """The run was asked to end by Ctrl-C, SIGTERM or SIGHUP."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal.Signals(signal_number).name)
        self.signal_number = signal_number


class Asked:
    """since: when the first signal came that is being answered."""

    since = -math.inf
    again = False


@contextmanager
def termination_as_interrupt() -> Iterator[None]:
    """Within the block Ctrl-C, SIGTERM and SIGHUP raise Terminated, so that no process outlives us.

    A second signal interrupts no tidying up: from one second after the first on it says that the
    processes are to be killed now. Should the first have been lost in code that swallows such
    exceptions, one that comes after ten seconds is the first again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return
    before = {number: signal.signal(number, _on_signal) for number in _ending_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        Asked.since, Asked.again = -math.inf, False


def _on_signal(number: int, frame: FrameType | None) -> None:
    passed = time.monotonic() - Asked.since
    if passed > _LOST_SECONDS:
        Asked.since, Asked.again = time.monotonic(), False
        raise Terminated(number)
    Asked.again = Asked.again or passed > SAME_SIGNAL_SECONDS


def _ending_signals() -> list[signal.Signals]:
    # nohup ignores SIGHUP on purpose.
    candidates = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    return [number for number in candidates if signal.getsignal(number) is not signal.SIG_IGN]
