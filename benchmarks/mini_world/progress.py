"""How far a long piece of work is: one line, rewritten on a terminal; a few lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LINES_IN_A_FILE = 4
SECONDS_ON_A_TERMINAL = 0.2


class Progress:
    """Counts up to `total` and says so on stderr, with the time that is left."""

    def __init__(self, what: str, total: int, unit: str, stream: TextIO | None = None) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.stream = sys.stderr if stream is None else stream
        self.terminal = self.stream.isatty()
        self.done = 0
        self.started = time.monotonic()
        self.shown_at = 0.0
        self.shown_share = 0

    def advance(self, count: int) -> None:
        self.done += count
        if self.terminal:
            if time.monotonic() - self.shown_at > SECONDS_ON_A_TERMINAL:
                self._show("\r", "\x1b[K")
        elif self.done * LINES_IN_A_FILE // self.total > self.shown_share:
            self._show("", "\n")

    def close(self) -> None:
        """End the line of a terminal."""
        if self.terminal:
            self._show("\r", "\x1b[K\n")

    def _show(self, before: str, after: str) -> None:
        passed = time.monotonic() - self.started
        text = f"{self.what}: {self.done:,}/{self.total:,} {self.unit}, {passed:.0f} s"
        if 0 < self.done < self.total:
            text += f", {passed / self.done * (self.total - self.done):.0f} s left"
        self.stream.write(f"{before}{text}{after}")
        self.stream.flush()
        self.shown_at = time.monotonic()
        self.shown_share = self.done * LINES_IN_A_FILE // self.total
