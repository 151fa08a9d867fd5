"""What very many files were, in arrays: size, time of the last change, and sha256 of each."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from heapq import merge
from itertools import groupby, pairwise, repeat
from operator import itemgetter

import numpy as np

from benchmarks.name_table import NameTable


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """size: in bytes; mtime_ns: of the last change, in nanoseconds."""

    size: int
    mtime_ns: int
    sha256: str


class FactTable(Mapping[str, FileFacts]):
    """By path below the root, sorted: some 56 bytes a file beside its path.

    names; sizes and times: (n,) int64, as in FileFacts; hashes: (n, 32) uint8. All may be
    memory-mapped.
    """

    def __init__(
        self, names: NameTable, sizes: np.ndarray, times: np.ndarray, hashes: np.ndarray
    ) -> None:
        self.names, self.sizes, self.times, self.hashes = names, sizes, times, hashes

    @classmethod
    def of(cls, facts: Mapping[str, FileFacts]) -> FactTable:
        names = sorted(facts)
        sizes, times, hashes = array("q"), array("q"), bytearray()
        for name in names:
            found = facts[name]
            sizes.append(found.size)
            times.append(found.mtime_ns)
            hashes += bytes.fromhex(found.sha256)
        return cls(
            NameTable.of(names),
            np.array(sizes, np.int64),
            np.array(times, np.int64),
            np.frombuffer(bytes(hashes), np.uint8).reshape(-1, 32),
        )

    @classmethod
    def joined(cls, tables: Sequence[FactTable]) -> FactTable:
        """Of tables that share no name, in any order."""
        filled = sorted((table for table in tables if len(table)), key=lambda table: table.names[0])
        if not filled:
            return cls.of({})
        names = NameTable.of_lines(b"".join(table.names.text.tobytes() for table in filled))
        sizes = np.concatenate([table.sizes for table in filled])
        times = np.concatenate([table.times for table in filled])
        hashes = np.concatenate([table.hashes for table in filled])
        if any(later < earlier for earlier, later in pairwise(names)):
            order = sorted(range(len(names)), key=names[:].__getitem__)
            names = NameTable.of(names[at] for at in order)
            sizes, times, hashes = sizes[order], times[order], hashes[order]
        return cls(names, sizes, times, hashes)

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __getitem__(self, name: str) -> FileFacts:
        at = self.names.find(name)
        if at is None:
            raise KeyError(name)
        return FileFacts(
            size=int(self.sizes[at]),
            mtime_ns=int(self.times[at]),
            sha256=self.hashes[at].tobytes().hex(),
        )

    @property
    def total_bytes(self) -> int:
        return int(self.sizes.sum())

    def digest(self) -> str:
        """sha256 over paths, sizes and contents; independent of place and time."""
        summary = hashlib.sha256()
        for at, name in enumerate(self.names):
            content = self.hashes[at].tobytes().hex()
            summary.update(f"{name}\t{self.sizes[at]}\t{content}\n".encode())
        return summary.hexdigest()


def grouped_names(*sources: Iterable[str]) -> Iterator[tuple[str, set[int]]]:
    """The names in any of the sources, which are sorted, each once: with the numbers of those."""
    numbered = (zip(names, repeat(number)) for number, names in enumerate(sources))
    for name, group in groupby(merge(*numbered), key=itemgetter(0)):
        yield name, {number for _, number in group}
