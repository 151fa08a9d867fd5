"""Every draw follows from (seed, epoch or step, sample), whatever was drawn before."""

from __future__ import annotations

import random
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from engine.randomness import (
    EpochStream,
    KeyedDataset,
    SampleKey,
    StepRandomness,
    sample_rng,
    seed_globally,
    step_rng,
)


def take(stream: EpochStream, count: int) -> list[SampleKey]:
    return list(islice(stream, count))


def draws() -> tuple[Any, ...]:
    """One draw of each global generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))  # noqa: NPY002


def test_each_epoch_is_a_permutation() -> None:
    keys = take(EpochStream(7, seed=3), 3 * 7)
    for epoch in range(3):
        part = keys[7 * epoch : 7 * (epoch + 1)]
        assert [key.epoch for key in part] == [epoch] * 7
        assert sorted(key.sample for key in part) == list(range(7))


def test_epochs_and_seeds_have_their_own_order() -> None:
    keys = take(EpochStream(20, seed=0), 40)
    first, second = ([key.sample for key in keys[i : i + 20]] for i in (0, 20))
    assert first != second
    assert first != [key.sample for key in take(EpochStream(20, seed=1), 20)]
    assert take(EpochStream(20, seed=0), 40) == keys


@pytest.mark.parametrize("start", [1, 4, 5, 13])
def test_a_later_start_continues_the_same_stream(start: int) -> None:
    assert (
        take(EpochStream(5, seed=1, start=start), 11)
        == take(EpochStream(5, seed=1), start + 11)[start:]
    )


@pytest.mark.parametrize("world_size", [2, 3])
def test_processes_share_out_one_stream(world_size: int) -> None:
    whole = take(EpochStream(5, seed=1, start=4), 6 * world_size)
    for rank in range(world_size):
        part = take(EpochStream(5, seed=1, start=4, rank=rank, world_size=world_size), 6)
        assert part == whole[rank::world_size]


def test_an_empty_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        EpochStream(0, seed=0)


def test_a_samples_generator_is_a_function_of_its_key() -> None:
    key = SampleKey(epoch=2, sample=5)
    first = sample_rng(1, key).random(4).tolist()
    sample_rng(9, SampleKey(0, 0)).random(100)
    draws()
    assert sample_rng(1, key).random(4).tolist() == first
    others = [(2, key), (1, SampleKey(3, 5)), (1, SampleKey(2, 6)), (1, SampleKey(5, 2))]
    assert all(sample_rng(seed, other).random(4).tolist() != first for seed, other in others)


class Drawing:
    """A data set that draws from all global generators, as OpenMMLab's transforms do."""

    metainfo = {"classes": ("cat",)}  # noqa: RUF012 - as OpenMMLab's data sets have it

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        return (index, *draws())


def test_a_keyed_data_set_draws_the_same_for_a_key() -> None:
    data = KeyedDataset(Drawing(), seed=4)
    assert len(data) == 9
    assert data.metainfo is Drawing.metainfo
    first = data[SampleKey(1, 6)]
    assert first[0] == 6
    for other in (SampleKey(1, 7), SampleKey(2, 6), SampleKey(6, 1)):
        assert data[other][1:] != first[1:]
    draws()
    assert data[SampleKey(1, 6)] == first
    assert KeyedDataset(Drawing(), seed=5)[SampleKey(1, 6)] != first


def test_each_step_is_seeded_whatever_was_drawn_before() -> None:
    hook, model = StepRandomness(7), SimpleNamespace(rng=None)
    runner = SimpleNamespace(model=model)

    def at(step: int) -> tuple[Any, ...]:
        hook.before_train_iter(runner, step)
        return (*draws(), model.rng.random())

    first, second = at(0), at(1)
    assert not set(first) & set(second)
    assert (at(1), at(0)) == (second, first)


def test_a_models_generator_may_lie_within_a_wrapper() -> None:
    wrapped = SimpleNamespace(module=SimpleNamespace(rng=None))
    StepRandomness(7).before_train_iter(SimpleNamespace(model=wrapped), 3)
    assert wrapped.module.rng.random() == step_rng(7, 3).random()


def test_all_global_generators_are_seeded() -> None:
    seed_globally([1, 2])
    first = draws()
    seed_globally([2, 1])
    second = draws()
    seed_globally([1, 2])
    assert draws() == first
    assert not set(first) & set(second)
