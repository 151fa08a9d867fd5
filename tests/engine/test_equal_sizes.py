"""Which test images share a batch."""

from __future__ import annotations

import pytest

from engine import equal_sizes
from engine.equal_sizes import EqualSizes

SIZES = [(4, 3), (4, 3), (4, 3), (3, 4), (4, 3), (4, 3), (4, 3), (4, 3), (4, 3)]


def test_neighbours_of_one_size_share_a_batch() -> None:
    batches = EqualSizes(len(SIZES), SIZES.__getitem__, most=3)
    assert list(batches) == [[0, 1, 2], [3], [4, 5, 6], [7, 8]]
    assert len(batches) == 4
    assert [*EqualSizes(3, SIZES.__getitem__, most=1)] == [[0], [1], [2]]
    assert [*EqualSizes(0, SIZES.__getitem__, most=3)] == []


def test_processes_share_the_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(equal_sizes, "world_size", lambda: 2)
    shares = []
    for process in range(2):
        monkeypatch.setattr(equal_sizes, "rank", lambda process=process: process)
        shares.append(list(EqualSizes(len(SIZES), SIZES.__getitem__, most=3)))
    assert shares == [[[0, 2, 4], [6, 8]], [[1], [3], [5, 7]]]
