"""Folds are scikit-learn's, every image in its place, groups whole; what cannot be is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import (
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from classification.splits import Fold, make_folds

HOLDOUT = {"validation": "holdout", "folds": 5, "share": 0.2, "seed": 0}
KFOLD = {**HOLDOUT, "validation": "kfold"}
REPEATED = {**HOLDOUT, "validation": "repeated"}


def folds_of(labels: Any, groups: Any = None, **choices: Any) -> tuple[Fold, ...]:
    return make_folds(labels, groups, **choices)


def as_lists(folds: tuple[Fold, ...]) -> list[tuple[list[int], list[int]]]:
    return [(fold.fit.tolist(), fold.validation.tolist()) for fold in folds]


def of_sklearn(splitter: Any, labels: Any, groups: Any = None) -> list[tuple[list[int], list[int]]]:
    found = splitter.split(np.zeros(len(labels)), labels, groups)
    return [(sorted(fit.tolist()), sorted(held.tolist())) for fit, held in found]


LABELS = [0] * 20 + [1] * 11 + [2] * 9
GROUPS = [f"patient {n // 2}" for n in range(40)]


def test_without_groups_they_are_the_stratified_splits_of_scikit_learn() -> None:
    kfold = StratifiedKFold(5, shuffle=True, random_state=3)
    assert as_lists(folds_of(LABELS, **{**KFOLD, "seed": 3})) == of_sklearn(kfold, LABELS)
    repeated = StratifiedShuffleSplit(5, test_size=0.25, random_state=3)
    choices = {**REPEATED, "seed": 3, "share": 0.25}
    assert as_lists(folds_of(LABELS, **choices)) == of_sklearn(repeated, LABELS)


def test_with_groups_k_folds_are_the_stratified_group_folds_of_scikit_learn() -> None:
    kfold = StratifiedGroupKFold(4, shuffle=True, random_state=7)
    found = folds_of(LABELS, GROUPS, **{**KFOLD, "folds": 4, "seed": 7})
    assert as_lists(found) == of_sklearn(kfold, LABELS, GROUPS)


def test_the_hold_out_is_the_first_of_the_repeated_ones_and_the_seed_draws_it() -> None:
    for groups in (None, GROUPS):
        (one,) = as_lists(folds_of(LABELS, groups, **HOLDOUT))
        several = as_lists(folds_of(LABELS, groups, **REPEATED))
        assert several[0] == one
        assert len({tuple(held) for _, held in several}) == 5
        assert as_lists(folds_of(LABELS, groups, **{**HOLDOUT, "seed": 1})) != [one]
        assert as_lists(folds_of(LABELS, groups, **HOLDOUT)) == [one]


@settings(max_examples=20, deadline=None)
@given(
    counts=st.lists(st.integers(5, 17), min_size=2, max_size=4),
    seed=st.integers(0, 2**32 - 1),
    shuffle=st.randoms(use_true_random=False),
)
def test_every_image_validates_once_in_k_folds_and_classes_are_spread_within_one_image(
    counts: list[int], seed: int, shuffle: Any
) -> None:
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    shuffle.shuffle(labels)
    found = folds_of(labels, **{**KFOLD, "seed": seed})
    assert sorted(np.concatenate([fold.validation for fold in found])) == list(range(len(labels)))
    for fold in found:
        assert sorted([*fold.fit, *fold.validation]) == list(range(len(labels)))
        for label, count in enumerate(counts):
            here = sum(labels[place] == label for place in fold.validation)
            assert abs(here - count / 5) < 1


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sizes=st.lists(st.integers(1, 6), min_size=24, max_size=30))
def test_groups_stay_whole_and_hold_outs_come_near_the_share_of_every_class(
    seed: int, sizes: list[int]
) -> None:
    groups = [f"g{n}" for n, size in enumerate(sizes) for _ in range(size)]
    labels = [int(name[1:]) % 3 for name in groups]
    for choices in (HOLDOUT, REPEATED, {**KFOLD, "folds": 3}):
        for fold in folds_of(labels, groups, **{**choices, "seed": seed}):
            apart = [{groups[place] for place in part} for part in (fold.fit, fold.validation)]
            assert not apart[0] & apart[1]
            assert sorted([*fold.fit, *fold.validation]) == list(range(len(labels)))
            for label in range(3):
                share = np.mean(
                    [
                        place in fold.validation
                        for place in np.flatnonzero(np.array(labels) == label)
                    ]
                )
                assert 0 < share < 0.75


def test_a_hold_out_by_groups_is_as_stratified_as_the_groups_allow() -> None:
    """Ten groups of two images of one class each: exactly a fifth of each class can be held out,
    which a draw of groups without looking at classes gives in under half of the seeds."""
    groups = [f"g{n // 2}" for n in range(40)]
    labels = [int(n >= 20) for n in range(40)]
    for seed in range(10):
        (fold,) = folds_of(labels, groups, **{**HOLDOUT, "seed": seed})
        assert np.bincount(np.array(labels)[fold.validation]).tolist() == [4, 4]


def test_no_hold_out_of_a_few_images_comes_twice() -> None:
    """Of 3 + 2 images 3 * 2 pairs can be held out: scikit-learn alone draws some of them again."""
    labels = [0, 0, 0, 1, 1]
    for seed in range(5):
        choices = {**REPEATED, "folds": 6, "share": 0.4, "seed": seed}
        drawn = of_sklearn(StratifiedShuffleSplit(6, test_size=0.4, random_state=seed), labels)
        assert len({tuple(held) for _, held in drawn}) < 6
        found = as_lists(folds_of(labels, **choices))
        assert sorted(held for _, held in found) == [[i, j] for i in range(3) for j in (3, 4)]
        assert found[0] == drawn[0]


SIZES = {"a": 3, "b": 5, "c": 4, "d": 6, "e": 2, "f": 4, "g": 7, "h": 5}


def test_no_hold_out_of_a_few_groups_comes_twice_and_seeds_differ() -> None:
    groups = [name for name, size in SIZES.items() for _ in range(size)]
    labels = [int(n % 3 == 0) for n in range(len(groups))]
    found = folds_of(labels, groups, **REPEATED)
    assert len({tuple(fold.validation) for fold in found}) == 5
    seeds = [folds_of(labels, groups, **{**HOLDOUT, "seed": seed})[0] for seed in range(6)]
    assert len({tuple(fold.validation) for fold in seeds}) > 2


def test_a_refusal_names_as_many_hold_outs_as_there_can_be() -> None:
    """Each of five classes is in two groups, one to hold out: 2**5 of the 252 halves of ten."""
    groups, labels = list(range(10)), [n // 2 for n in range(10)]
    choices = {**REPEATED, "share": 0.5}
    with pytest.raises(ValueError, match=r"only 32 different ones .* folds be at most 32"):
        folds_of(labels, groups, **{**choices, "folds": 33})
    found = as_lists(folds_of(labels, groups, **{**choices, "folds": 32}))
    assert len({tuple(held) for _, held in found}) == 32
    assert all({labels[n] for n in held} == set(range(5)) for _, held in found)
    assert as_lists(folds_of(labels, groups, **{**choices, "folds": 2})) == found[:2]


@pytest.mark.parametrize(
    ("labels", "groups", "choices", "message"),
    [
        ([0, 0, 1], None, KFOLD, "^5 folds of 3 images: let folds be at most"),
        (
            [0] * 5 + [1] + [2] * 4,
            None,
            KFOLD,
            "^class dog has 1 image, class emu has 4 images, 5 folds need 5: add images, or leave",
        ),
        (
            [0] * 5 + [1] * 3,
            None,
            KFOLD,
            "^class dog has 3 images, 5 folds .* folds be at most 3, add",
        ),
        (LABELS, ["a", "b", "c", "d"] * 10, KFOLD, "^5 folds of 4 groups: let folds be at most"),
        (
            LABELS,
            ["a"] * 20 + ["b", "c"] * 10,
            {**KFOLD, "folds": 3},
            "^all images of cat are in one fold, because they are in too few groups",
        ),
        ([0] * 9 + [1], None, HOLDOUT, r"leaves no validation image of class dog \(1 image\)"),
        ([0] * 40 + [1] * 2, None, HOLDOUT, r"leaves no validation image of class dog \(2 images"),
        (
            [0] * 40 + [1] * 2,
            None,
            {**HOLDOUT, "share": 0.8},
            r"validation_share 0.8 leaves no image to fit of class dog \(2 images\)",
        ),
        (
            LABELS,
            None,
            {**HOLDOUT, "share": 0.02},
            "of 40 images 1 validates, too few for 3 classes",
        ),
        (LABELS, None, {**HOLDOUT, "share": 0.97}, "1 is left to fit, too few for 3 .* be less"),
        (LABELS, ["a"] * 40, HOLDOUT, "all images are in one group: at least 2 are needed"),
        (
            LABELS,
            ["a"] * 31 + ["b", "c", "d"] * 3,
            HOLDOUT,
            "of class cat .*, class dog .* without tearing groups apart",
        ),
        # Four of the five groups have both classes, the last is one dog.
        (
            [0, 1, 0, 1, 0, 1, 0, 1, 1, 0, 0, 1, 1],
            list("aaabbbcccddde"),
            REPEATED,
            "^5 hold-outs .* only 4 different ones have every class .* folds be at most 4",
        ),
        (
            [0, 0, 0, 1, 1],
            None,
            {**REPEATED, "folds": 7, "share": 0.4},
            "^7 hold-outs .* of 5 images only 6 different ones were drawn; let folds be at most 6",
        ),
        ([0, 0, 2, 2], None, HOLDOUT, "no training image of dog: every class needs some"),
    ],
)
def test_what_cannot_be_divided_is_refused_with_the_names_of_classes(
    labels: list[int], groups: list[str] | None, choices: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        folds_of(labels, groups, classes=("cat", "dog", "emu")[: max(labels) + 1], **choices)
