"""What goes wrong with a benchmark: its file, or the data that it names."""

from __future__ import annotations


class BenchmarkError(ValueError):
    """A benchmark file that cannot be used: which file, which key, what was expected."""


class DataError(ValueError):
    """Data that is missing, damaged or not in its layout: the file or the folder, by name."""
