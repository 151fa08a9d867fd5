"""The laws of the algebra of tricks, for all tricks and all orders."""

from __future__ import annotations

import itertools
import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from classification.recipe import Recipe
from classification.recipes import CARDS, RECIPES
from classification.tricks import TRICKS, CosineDecay, LabelSmoothing, LinearDecay, Mixup, Warmup
from classification.tricks.examples import EXAMPLES
from classification.tricks.trick import KINDS, Trick

# Their numbers depend on what is there already: the batch size that a rate is scaled from.
ORDERED = {"large_batch", "optimizer", "weight_decay", "lookahead"}

tricks = st.lists(st.sampled_from(sorted(EXAMPLES)), unique=True, max_size=6)


def build(names: list[str]) -> Recipe:
    recipe = Recipe()
    for name in names:
        recipe = recipe | EXAMPLES[name]
    return recipe


def compatible(names: list[str]) -> bool:
    try:
        build(names)
    except ValueError:
        return False
    return True


@settings(max_examples=60, deadline=None)
@given(names=tricks, order=st.randoms(use_true_random=False))
def test_order_says_nothing_where_it_does_not_matter(names: list[str], order: object) -> None:
    assume(compatible(names) and len(ORDERED & set(names)) < 2)
    shuffled = list(names)
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    first, second = build(names), build(shuffled)
    assert first == second
    assert first.digest() == second.digest()
    assert first.acting == second.acting, "nor does it change what is computed"


@settings(max_examples=60, deadline=None)
@given(names=tricks, index=st.integers(0, 5))
def test_what_is_taken_away_was_never_there(names: list[str], index: int) -> None:
    assume(names and compatible(names))
    gone = names[index % len(names)]
    without = build(names) - TRICKS[gone]
    assert without == build([name for name in names if name != gone])


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_trick_in_a_recipe_changes_its_digest_and_is_plain_json(name: str) -> None:
    recipe = Recipe() | EXAMPLES[name]
    assert recipe != Recipe()
    assert json.loads(json.dumps(recipe.to_dict()))["tricks"].keys() == {name}
    assert hash(recipe) == hash(Recipe() | EXAMPLES[name])


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_same_trick_twice_is_refused_by_name(name: str) -> None:
    recipe = Recipe() | EXAMPLES[name]
    with pytest.raises(ValueError, match=f"{name} (twice|conflicts)"):
        recipe | EXAMPLES[name]


def _rivals() -> list[tuple[str, str]]:
    def rival(a: Trick, b: Trick) -> bool:
        same = a.alternatives is not None and a.alternatives == b.alternatives
        return same or a.name in b.card.conflicts or b.name in a.card.conflicts

    pairs = itertools.combinations(EXAMPLES.values(), 2)
    return [(a.name, b.name) for a, b in pairs if rival(a, b)]


@pytest.mark.parametrize(("one", "other"), _rivals())
def test_rivals_are_refused_with_both_names_in_either_order(one: str, other: str) -> None:
    for first, second in ((one, other), (other, one)):
        with pytest.raises(ValueError, match=f"{second} conflicts with {first}"):
            Recipe() | EXAMPLES[first] | EXAMPLES[second]


def test_known_rivals() -> None:
    rivals = {frozenset(pair) for pair in _rivals()}
    for pair in (
        {"cosine_decay", "linear_decay"},
        {"mixup", "cut_mix"},
        {"mixup", "mixup_or_cut_mix"},
        {"rand_augment", "auto_augment"},
        {"xavier_initialization", "kaiming_initialization"},
        {"manifold_mixup", "distillation"},
        {"one_cycle", "warmup"},
    ):
        assert pair in rivals


def test_the_message_of_two_schedules_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"a recipe has one schedule.*\(-cosine_decay\)"):
        Recipe() | CosineDecay() | LinearDecay()
    assert (Recipe() | CosineDecay() | Warmup(5)) - CosineDecay | LinearDecay() == (
        Recipe() | Warmup(5) | LinearDecay()
    )


def test_label_smoothing_twice_shows_both() -> None:
    with pytest.raises(ValueError, match=r"epsilon=0\.1.*epsilon=0\.2"):
        Recipe() | LabelSmoothing(0.1) | LabelSmoothing(0.2)


def test_batch_tricks_draw_the_same_whatever_order_they_were_added_in() -> None:
    recipes = [build(["mixup", "vicinal_noise"]), build(["vicinal_noise", "mixup"])]
    results = []
    for recipe in recipes:
        rng = np.random.default_rng(0)
        images, targets = torch.ones(4, 3, 8, 8), torch.eye(4)
        for trick in recipe.acting:
            images, targets = trick.transform_batch(images, targets, rng)
        results.append(images)
    assert torch.equal(*results)


@pytest.mark.parametrize("name", TRICKS)
def test_every_trick_says_what_it_is(name: str) -> None:
    trick = TRICKS[name]
    assert trick.name == name
    assert trick.kind in KINDS
    assert trick.card.source.count(",") >= 1
    assert trick.card.effect
    assert set(trick.card.conflicts) <= set(TRICKS)
    assert trick.__module__.endswith(f".{name}")
    assert trick.knobs().keys() == {knob.name for knob in fields(trick)}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_where_it_comes_from(name: str) -> None:
    card = CARDS[name]
    assert card.source
    assert card.measured
    assert all(60 < top1 < 90 for top1 in card.expected.values())
    assert card.command(name).endswith(f"_{name} --benchmark paper")


def test_a_number_is_the_same_however_it_is_written() -> None:
    assert Recipe() | Warmup(5) == Recipe() | Warmup(5.0)


def test_numbers_that_no_trick_has_set_are_not_lost_in_silence() -> None:
    by_hand = replace(RECIPES["mixup"], batch_size=512)
    assert by_hand != RECIPES["mixup"]
    with pytest.raises(ValueError, match="label_smoothing cannot be taken away"):
        by_hand - LabelSmoothing


@pytest.mark.parametrize(
    "knobs",
    [
        {"batch_size": 0},
        {"epochs": 0},
        {"warmup_epochs": 120},
        {"warmup_epochs": -1},
        {"loss": "bce"},
        {"precision": "fp16"},
        {"accumulation": 0},
        {"repeats": 0},
        {"evaluation_crop": 0.0},
        {"gradient_clip": -1.0},
        {"early_stopping": 0},
    ],
)
def test_numbers_out_of_range_are_refused(knobs: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="not"):
        replace(Recipe(), **knobs)


def test_the_algebra_leaves_its_operands_alone() -> None:
    recipe = Recipe()
    before = recipe.digest()
    more = recipe | Mixup(0.2)
    assert recipe.digest() == before
    assert recipe.tricks == ()
    assert more - Mixup == recipe
