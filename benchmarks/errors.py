"""What goes wrong with a benchmark: its file, or the data that it names."""

from __future__ import annotations


class BenchmarkError(ValueError):
    """A benchmark file that cannot be used: which file, which key, what was expected."""


class DataError(ValueError):
    """Data that is missing, damaged or not in its layout: the file or the folder, by name."""

    def __init__(self, message: str) -> None:
        # torch's loader raises again what its worker raised, with a whole traceback as the text.
        super().__init__(message.rpartition(f"{__name__}.DataError: ")[2].rstrip())
