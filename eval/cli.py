"""The command line: `trickle VERB`, and `python eval/run_transfer.py`; see `eval.verbs`.

Imports next to nothing, so that Ctrl-C is heard from the start.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


def main(argv: Sequence[str] | None = None) -> int:
    """`trickle`. Exit code 0: all done; 1: some job failed; 2: wrong usage; 130, 143: Ctrl-C,
    SIGTERM."""
    with _nothing_begun():
        from eval.verbs import trickle
    return trickle(sys.argv[1:] if argv is None else list(argv))


def transfer_main(argv: Sequence[str] | None = None) -> int:
    """`python eval/run_transfer.py`: the same as `trickle run`."""
    with _nothing_begun():
        from eval.verbs import run_transfer
    return run_transfer(sys.argv[1:] if argv is None else list(argv))


@contextmanager
def _nothing_begun() -> Iterator[None]:
    """Within the block Ctrl-C ends the process with one line: there is nothing to tidy up, and an
    exception could be lost in somebody's import."""
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    ):
        yield
        return
    before = signal.signal(signal.SIGINT, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _leave(number: int, frame: object) -> None:
    try:
        os.write(2, b"\nInterrupted.\n")
    finally:
        os._exit(128 + number)
