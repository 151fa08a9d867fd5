"""While modules are imported there is nothing to tidy up: a signal ends the process at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_begun() -> Iterator[None]:
    """Within the block Ctrl-C, SIGTERM and SIGHUP end the process with one line: an exception could
    be lost in somebody's import."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                before[number] = signal.signal(number, _leave)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, frame: object) -> None:
    try:
        os.write(2, b"\nInterrupted.\n")
    finally:
        os._exit(128 + number)
