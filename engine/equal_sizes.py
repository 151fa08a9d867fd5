"""Test images that share a batch: neighbours of one size, so that none is padded for another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from engine.fast_paths import is_fast
from engine.processes import rank, world_size

MOST = 4
"""Images of a batch: more are hardly faster and take more memory than a training step does."""

Size = tuple[int, ...]


class EqualSizes(Sampler[list[int]]):
    """Every sample once, in order, in batches of up to `most` neighbours of one size.

    size_of: of a sample before it is resized; asked once of each, when the first batch is. Of
    several processes each takes every n-th sample.
    """

    def __init__(self, count: int, size_of: Callable[[int], Size], *, most: int) -> None:
        self.count, self.size_of, self.most = count, size_of, most

    @cached_property
    def batches(self) -> list[list[int]]:
        found: list[list[int]] = []
        last: Size | None = None
        for index in range(rank(), self.count, world_size()):
            size = self.size_of(index)
            if size != last or len(found[-1]) == self.most:
                found.append([])
            found[-1].append(index)
            last = size
        return found

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)


def whole_image_loader(
    dataset: Dataset[Any],
    *,
    size_of: Callable[[int], Size],
    most: int,
    workers: int,
    collate: Callable[[list[Any]], Any],
) -> DataLoader[Any]:
    """Every sample once, in order; at most `most` and MOST of one size together."""
    most = min(most, MOST) if is_fast("test_batches") else 1
    batches = EqualSizes(len(dataset), size_of, most=most)  # type: ignore[arg-type]
    return DataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)
