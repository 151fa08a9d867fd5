"""The command line: `trickle VERB`, and `python eval/run_transfer.py`; see `eval.verbs`.

Imports next to nothing, so that Ctrl-C is heard from the start.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from eval.early import nothing_begun


def main(argv: Sequence[str] | None = None) -> int:
    """`trickle`. Exit code 0: all done; 1: some job failed; 2: wrong usage; 130, 143: Ctrl-C,
    SIGTERM."""
    with nothing_begun():
        from eval.verbs import trickle
    return trickle(sys.argv[1:] if argv is None else list(argv))


def transfer_main(argv: Sequence[str] | None = None) -> int:
    """`python eval/run_transfer.py`: the same as `trickle run`."""
    with nothing_begun():
        from eval.verbs import run_transfer
    return run_transfer(sys.argv[1:] if argv is None else list(argv))
