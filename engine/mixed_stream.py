"""Batches of which a fixed number of samples is from a second part of the data."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch.utils.data import Sampler

from engine.randomness import SampleKey


@dataclass(frozen=True, kw_only=True)
class SecondPart:
    """images: the last of the data set; of_batch: how many of each batch, of all processes
    together, are of them, and never more or fewer."""

    images: int
    of_batch: int


class MixedStream(Sampler[SampleKey]):
    """An endless stream of keys as `EpochStream`'s, of two parts of the data: each goes through
    permutations of its own, and each batch has as many of the second as `second` says.

    length: of the whole data set. batch_size: of all processes together. Where in a batch the
    second's stand follows from the seed and the step. `start` is the number of keys already
    consumed, of whole batches. The rest is as of EpochStream.
    """

    def __init__(
        self,
        length: int,
        *,
        second: SecondPart,
        batch_size: int,
        seed: int,
        start: int = 0,
        repeats: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 < second.images < length:
            raise ValueError("cannot draw samples from an empty part of a data set")
        if not 0 < second.of_batch < batch_size:
            raise ValueError(
                f"{second.of_batch} of a batch of {batch_size} images cannot be of the second part "
                "of the data: each part has at least one"
            )
        self.first, self.second, self.batch_size = length - second.images, second, batch_size
        self.seed, self.start, self.repeats = seed, start, repeats
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Keys in which the first part comes once in this process; mmengine's log asks for it."""
        of_first = self.batch_size - self.second.of_batch
        return math.ceil(self.first * self.batch_size / of_first / self.world_size)

    def __iter__(self) -> Iterator[SampleKey]:
        of_second = self.second.of_batch
        parts = (
            _Part(self.first, 0, self.seed, (), self.repeats),
            _Part(self.second.images, self.first, self.seed, (5, 5), self.repeats),
        )
        step = self.start // self.batch_size
        while True:
            order = np.random.default_rng([self.seed, step, 4, 4]).permutation(self.batch_size)
            is_second = order < of_second
            before: npt.NDArray[np.int64] = np.cumsum(is_second) - is_second
            for slot in range(self.rank, self.batch_size, self.world_size):
                if is_second[slot]:
                    yield parts[1].key(step * of_second + int(before[slot]))
                else:
                    place = slot - int(before[slot])
                    yield parts[0].key(step * (self.batch_size - of_second) + place)
            step += 1


class _Part:
    """length: of its samples, which begin at `begin`. apart: what keeps its draws apart."""

    def __init__(
        self, length: int, begin: int, seed: int, apart: tuple[int, ...], repeats: int
    ) -> None:
        self.length, self.begin, self.repeats = length, begin, repeats
        self.seed, self.apart = seed, apart
        self.epoch, self.order = -1, np.empty(0, np.int64)

    def key(self, position: int) -> SampleKey:
        draw, repeat = divmod(position, self.repeats)
        epoch, place = divmod(draw, self.length)
        if epoch != self.epoch:
            self.epoch = epoch
            rng = np.random.default_rng([self.seed, epoch, *self.apart])
            self.order = rng.permutation(self.length)
        return SampleKey(epoch * self.repeats + repeat, self.begin + int(self.order[place]))
