"""The loaders of all stages: endless for training, once through for a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mmengine.dataset import DefaultSampler
from torch import cuda
from torch.utils.data import DataLoader, Dataset

from engine.interruption import outlive_signals
from engine.mixed_stream import MixedStream, SecondPart
from engine.processes import rank, share_of, world_size
from engine.randomness import EpochStream


def train_loader(
    dataset: Dataset[Any],
    *,
    batch_size: int,
    seed: int,
    workers: int = 0,
    repeats: int = 1,
    collate: Callable[[list[Any]], Any] | None = None,
    second: SecondPart | None = None,
) -> DataLoader[Any]:
    """An endless loader over `EpochStream`; the data set is indexed by SampleKey.

    batch_size: of all processes together; ValueError where they cannot share it equally. second: a
    part of the data that each batch has a fixed number of, by `MixedStream`.
    """
    options: dict[str, Any] = {
        "seed": seed,
        "repeats": repeats,
        "rank": rank(),
        "world_size": world_size(),
    }
    if second is not None:
        options |= {"second": second, "batch_size": batch_size}
    return DataLoader(
        dataset,
        batch_size=share_of(batch_size),
        sampler=(EpochStream if second is None else MixedStream)(len(dataset), **options),  # type: ignore[arg-type]
        num_workers=workers,
        worker_init_fn=outlive_signals,
        collate_fn=collate,
        persistent_workers=workers > 0,
        pin_memory=cuda.is_available(),
    )


def evaluation_loader(
    dataset: Dataset[Any],
    *,
    batch_size: int,
    workers: int = 0,
    collate: Callable[[list[Any]], Any] | None = None,
) -> DataLoader[Any]:
    """Every sample once, in order; of several processes each takes every n-th."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        # Not rounded up to equal shares: an image must not count twice.
        sampler=DefaultSampler(dataset, shuffle=False, seed=0, round_up=False),
        num_workers=workers,
        collate_fn=collate,
    )
