"""Batches of two parts: so many of the second in each, whatever the resume and the processes."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.mixed_stream import MixedStream, SecondPart
from engine.randomness import SampleKey


def keys(count: int, **options: int) -> list[SampleKey]:
    second = SecondPart(images=options.pop("images", 5), of_batch=options.pop("of_batch", 3))
    options = {"batch_size": 8, "seed": 1, **options}
    return list(islice(MixedStream(17, second=second, **options), count))


@settings(max_examples=30, deadline=None)
@given(
    first=st.integers(1, 20),
    second=st.integers(1, 20),
    batch=st.integers(2, 9),
    data=st.data(),
)
def test_each_batch_has_as_many_of_the_second_part_and_each_part_its_own_epochs(
    first: int, second: int, batch: int, data: st.DataObject
) -> None:
    of_batch = data.draw(st.integers(1, batch - 1))
    part = SecondPart(images=second, of_batch=of_batch)
    stream = MixedStream(first + second, second=part, batch_size=batch, seed=3)
    found = list(islice(stream, 30 * batch))
    batches = [found[at : at + batch] for at in range(0, len(found), batch)]
    assert {sum(key.sample >= first for key in each) for each in batches} == {of_batch}
    assert len(set(found)) == len(found), "no key twice: each epoch has an image once"
    for begin, length in ((0, first), (first, second)):
        of_part = [key for key in found if begin <= key.sample < begin + length]
        counts = Counter(key.epoch for key in of_part)
        assert [counts[e] for e in range(max(counts))] == [length] * max(counts)


def test_a_run_that_goes_on_takes_what_the_whole_one_would_have() -> None:
    whole = keys(80)
    assert keys(40, start=40) == whole[40:]
    assert keys(80, seed=2) != whole


def test_processes_share_the_batches_of_one() -> None:
    whole = keys(80)
    assert [keys(40, rank=rank, world_size=2) for rank in (0, 1)] == [whole[::2], whole[1::2]]


def test_views_of_one_image_follow_each_other_in_its_part() -> None:
    of_first = [key for key in keys(64, repeats=2) if key.sample < 12]
    pairs = list(zip(of_first[::2], of_first[1::2], strict=True))
    assert all(a.sample == b.sample and b.epoch == a.epoch + 1 for a, b in pairs)


@pytest.mark.parametrize("wrong", [{"of_batch": 8}, {"of_batch": 0}, {"images": 17}])
def test_a_part_without_a_place_or_an_image_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="part"):
        keys(1, **wrong)
