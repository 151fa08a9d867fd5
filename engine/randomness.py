"""Randomness is a function, not a state: draws follow from (seed, epoch or step, sample).

So the number of workers changes nothing, there is no generator state to save, and a run that was
interrupted and resumed sees the same draws as one that was not.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.hooks import Hook
from torch.utils.data import Dataset, Sampler


class SampleKey(NamedTuple):
    """Which sample of which pass over the data."""

    epoch: int
    sample: int


def sample_rng(seed: int, key: SampleKey) -> np.random.Generator:
    """The generator of one sample's augmentation."""
    return np.random.default_rng([seed, key.epoch, key.sample])


def step_rng(seed: int, step: int) -> np.random.Generator:
    """The generator of one step's batch tricks. The 1 keeps it apart from `seed_globally`."""
    return np.random.default_rng([seed, step, 1, 1])


def seed_globally(entropy: Sequence[int]) -> None:
    """Seeds python's, numpy's and torch's global generators, which libraries draw from."""
    words = np.random.SeedSequence(list(entropy)).generate_state(3)
    random.seed(int(words[0]))
    np.random.seed(int(words[1]))  # noqa: NPY002 - OpenMMLab's transforms draw from it
    torch.manual_seed(int(words[2]))


def label_rng(seed: int, sample: int) -> np.random.Generator:
    """The generator of what happens to one training label, the same in each epoch."""
    return np.random.default_rng([seed, sample, 2, 2])


class EpochStream(Sampler[SampleKey]):
    """An endless stream of keys: each epoch a permutation of all samples, epochs end to end.

    `start` is the number of keys already consumed: a resumed run sets it instead of drawing and
    discarding samples. Of several processes, each takes every `world_size`-th key of one stream.
    repeats: keys of one sample that follow each other, each with an epoch, that is an
    augmentation, of its own (Hoffer et al. 2020, arXiv:1901.09335).
    """

    def __init__(
        self,
        length: int,
        *,
        seed: int,
        start: int = 0,
        repeats: int = 1,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if length < 1:
            raise ValueError("cannot draw samples from an empty data set")
        self.length, self.seed, self.start, self.repeats = length, seed, start, repeats
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        """Keys of one epoch in this process; mmengine's log asks for it."""
        return math.ceil(self.length / self.world_size)

    def __iter__(self) -> Iterator[SampleKey]:
        position = self.start + self.rank
        epoch, order = -1, np.empty(0, np.int64)
        while True:
            draw, repeat = divmod(position, self.repeats)
            if draw // self.length != epoch:
                epoch = draw // self.length
                order = np.random.default_rng([self.seed, epoch]).permutation(self.length)
            yield SampleKey(epoch * self.repeats + repeat, int(order[draw % self.length]))
            position += self.world_size


class KeyedDataset(Dataset[Any]):
    """An OpenMMLab data set whose transforms draw from global generators: seeded per sample."""

    def __init__(self, dataset: Any, *, seed: int) -> None:
        self.dataset, self.seed = dataset, seed
        self.metainfo = dataset.metainfo

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: SampleKey) -> Any:
        seed_globally([self.seed, key.epoch, key.sample])
        return self.dataset[key.sample]


class StepRandomness(Hook):
    """Reseeds before each step from (seed, step): dropout, mixup, samplers of proposals.

    Several processes draw alike, for the batch of all, and each takes its share
    (`engine.shared_batch`). A model with an attribute `rng` gets the step's generator there.
    """

    priority = "VERY_HIGH"

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        seed_globally([self.seed, batch_idx, 0])
        model = getattr(runner.model, "module", runner.model)
        if hasattr(model, "rng"):
            model.rng = step_rng(self.seed, batch_idx)
