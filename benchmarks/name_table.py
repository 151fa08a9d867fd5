"""Very many file names in two arrays instead of as many Python objects."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np

_END = "\n"


@dataclass(frozen=True, eq=False)
class NameTable(Sequence[str]):
    """Names without control characters; some 8 bytes each beside their own.

    text: (bytes,) uint8, UTF-8, a line each; ends: (n + 1,) uint64, where each name's line ends,
    after a 0. Both may be memory-mapped: a name is decoded when it is asked for.
    """

    text: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, names: Iterable[str]) -> NameTable:
        """Of an iterable that need not lie in memory. A name with a line break in it is refused."""
        text, count = bytearray(), 0
        for name in names:
            text += f"{name}{_END}".encode()
            count += 1
        table = cls.of_lines(text)
        if len(table) != count:
            raise ValueError("a name has a line break in it")
        return table

    @classmethod
    def of_lines(cls, text: bytes | bytearray) -> NameTable:
        """Of names that end in a line break each."""
        lines = np.frombuffer(bytes(text), np.uint8)
        ends = np.flatnonzero(lines == ord(_END)) + 1
        return cls(lines, np.concatenate([[0], ends]).astype(np.uint64))

    def __len__(self) -> int:
        return len(self.ends) - 1

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: Any) -> str | list[str]:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                return [self[at] for at in range(start, stop, step)]
            return self._text(start, stop).split(_END)[:-1] if start < stop else []
        at = range(len(self))[index]  # negative ones count from the end; IndexError beyond
        return self._text(at, at + 1)[:-1]

    def find(self, name: str, start: int = 0, stop: int | None = None) -> int | None:
        """The position of `name` among those from `start` to `stop`, which are sorted."""
        # Code points and the bytes of UTF-8 have the same order.
        at = bisect_left(self, name, start, len(self) if stop is None else stop)
        found = at < (len(self) if stop is None else stop) and self[at] == name
        return at if found else None

    def _text(self, start: int, stop: int) -> str:
        return self.text[int(self.ends[start]) : int(self.ends[stop])].tobytes().decode()
