"""What tricks are worth: pairs found in records, intervals and Shapley values by closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from itertools import combinations, islice, permutations
from statistics import mean, stdev
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from classification.recipes import RECIPES
from engine.results import Metric
from eval.ablation import drawn_orders
from eval.image_bootstrap import ByImage
from eval.intervals import Interval
from eval.made import Made, known_rows
from eval.records import Record
from eval.sections.material import Material
from eval.sections.section import Grid, Paragraph, Plot, Section
from eval.sections.worth import section
from eval.shapley import shapley_values
from eval.softened_labels import pairs_of, run_tests
from eval.summary import RowName, make_table
from eval.trick_pairs import Pair, find_pairs
from eval.trick_worth import Worth, worth_of_tricks
from tests.eval.report_material import material_of, record_of

MakeRecord = Callable[..., Record]


def made(names: Iterable[str], *, knobs: str = "{}", setting: str = "one") -> Made:
    names = sorted(names)
    return Made(
        backbone="+".join(names) or "base",
        setting=setting,
        tricks=frozenset((name, knobs) for name in names),
    )


def pairs_among(rows: Iterable[Made]) -> list[Pair]:
    """Of rows that all have one seed."""
    rows = list(rows)
    return find_pairs(rows, {row.backbone: {0: 0.0} for row in rows})


def parts(names: str) -> list[Made]:
    return [made(some) for n in range(len(names) + 1) for some in combinations(names, n)]


def test_pairs_are_rows_that_differ_by_one_trick() -> None:
    rows = [made(""), made("a"), made("ab"), made("cd", setting="two")]
    assert {(p.trick, p.having, p.lacking) for p in pairs_among(rows)} == {
        ("a", "a", "base"),
        ("b", "a+b", "a"),
    }


def test_the_papers_rows_make_bundles() -> None:
    """Its table 6: efficient training adds five tricks at once, mixup comes with more epochs."""
    names = ("standard", "efficient", "cosine", "smooth", "mixup")
    rows = [
        Made(
            backbone=name,
            setting="resnet50d",
            tricks=frozenset((t, "{}") for t in RECIPES[name].trick_names),
        )
        for name in names
    ]
    found = [(p.trick, p.bundle, p.having, p.lacking) for p in pairs_among(rows)]
    five = ("large_batch", "warmup", "zero_gamma", "no_bias_decay", "half_precision")
    assert found == [  # those of one trick first
        ("cosine_decay", (), "cosine", "efficient"),
        ("label_smoothing", (), "smooth", "cosine"),
        (" + ".join(five), five, "efficient", "standard"),
        ("mixup + epochs", ("mixup", "epochs"), "mixup", "smooth"),
    ]


@settings(max_examples=30, deadline=None)
@given(st.sets(st.frozensets(st.sampled_from("abcde")), min_size=2, max_size=12))
def test_no_row_lies_between_the_rows_of_a_pair(subsets: set[frozenset[str]]) -> None:
    """The edges of the Hasse diagram, by its definition."""
    found = {(p.having, p.lacking) for p in pairs_among([made(subset) for subset in subsets])}
    assert found == {
        (made(large).backbone, made(small).backbone)
        for large in subsets
        for small in subsets
        if small < large and not any(small < between < large for between in subsets)
    }


@pytest.mark.parametrize("of_between", [{}, {7: 1.0}])
def test_a_row_that_shares_no_seed_with_both_ends_lies_nowhere_between(
    of_between: dict[int, float],
) -> None:
    """It failed, diverged, was only pretrained, or has other seeds: it tells nothing of them."""
    rows = [made("ab"), made("a"), made("")]
    ends = {"a+b": {0: 3.0, 1: 4.0}, "base": {0: 1.0, 1: 1.0}}
    found = find_pairs(rows, {**ends, "a": of_between})
    assert [(p.bundle, p.having, p.lacking) for p in found] == [(("a", "b"), "a+b", "base")]
    assert [p.trick for p in find_pairs(rows, {**ends, "a": {1: 2.0}})] == ["b", "a"]


def test_a_repeated_recipe_without_numbers_hides_none_that_has_them() -> None:
    again = replace(made("a"), backbone="again")
    rows, values = [made("a"), again, made("")], {"again": {0: 2.0}, "base": {0: 1.0}}
    assert [(p.having, p.lacking) for p in find_pairs(rows, values)] == [("again", "base")]


def test_pairs_are_found_by_each_metric_for_itself() -> None:
    """A row in between that was only pretrained has a top-1, and no mAP."""
    names = ("standard", "standard+label_smoothing", "standard+label_smoothing+mixup")
    low, between, high = (f"resnet50d_{name}" for name in names)

    def cell(name: str, seed: int, task: str, **metrics: float) -> Record:
        measured = {key: Metric(value=value, n=9) for key, value in metrics.items()}
        key = sha256(f"{name}, {seed}, {task}".encode()).hexdigest()[:16]
        return record_of(name, seed, None, task=task, metrics=measured, key=key)

    records = [
        cell(name, seed, "classification", top1=50.0 + at + seed * at)
        for at, name in enumerate((low, between, high))
        for seed in (0, 1)
    ]
    records += [
        cell(name, seed, "detection", mAP=30.0 + at * (3 + seed))
        for at, name in enumerate((low, high))
        for seed in (0, 1)
    ]
    found = section(material_of(records))
    assert found is not None
    (grid,) = [block for block in found.blocks if isinstance(block, Grid)]
    shown = {row[0].text: [cell.text.split()[0] for cell in row[1:]] for row in grid.rows}
    assert shown == {
        "label_smoothing": ["+1.5", "–", "1"],
        "mixup": ["+1.5", "–", "1"],
        "label_smoothing + mixup (added together)": ["–", "+3.5", "1"],
    }


def test_a_bundle_of_tricks_that_stand_alone_is_left_out() -> None:
    """It would say no more, and take from the others by the correction."""
    pairs = [
        Pair(trick="a", having="ha", lacking="l"),
        Pair(trick="b", having="hb", lacking="l"),
        Pair(trick="a + b", bundle=("a", "b"), having="hab", lacking="l2"),
        Pair(trick="a + c", bundle=("a", "c"), having="hac", lacking="l2"),
    ]
    values = {name: {0: 1.0, 1: 2.0} for name in ("ha", "l", "hab", "hac", "l2")}
    of_top1 = {
        w.trick for w in worth_of_tricks({"top1": pairs}, {"top1": {**values, "hb": {0: 1.0}}})
    }
    assert of_top1 == {"a", "b", "a + c"}
    assert {w.trick for w in worth_of_tricks({"mAP": pairs}, {"mAP": values})} == {
        "a",
        "a + b",
        "a + c",
    }


def test_other_knobs_settings_and_bases_make_no_pair() -> None:
    plain = made("a")
    other_knob = Made(backbone="x", setting="one", tricks=frozenset({("a", "1"), ("b", "{}")}))
    other_setting = made("ab", setting="two")
    own_base = Made(backbone="y", setting="one", tricks=made("ab").tricks, base="1" * 64)
    its_base = Made(backbone="z", setting="one", tricks=plain.tricks, base="2" * 64)
    assert pairs_among([plain, other_knob, other_setting]) == []
    assert pairs_among([own_base, its_base]) == []


def test_pairs_come_from_names_and_from_what_pretrainings_recorded(
    make_record: MakeRecord,
) -> None:
    recipe = RECIPES["smooth"].canonical()
    protocol = {"architecture": "resnet50d", "width": 0.25, "recipe": recipe}
    without: dict[str, Any] = {**recipe, "tricks": {**recipe["tricks"]}}
    del without["tricks"]["label_smoothing"]
    records = [
        # Of recipes that this process knows nothing of.
        make_record("resnet50d_mine", "classification", protocol=protocol),
        make_record("resnet50d_other", "classification", protocol={**protocol, "recipe": without}),
        # Names alone.
        make_record("resnet18b_mixup", tricks=("mixup",)),
        make_record("resnet18b_mixup-warmup", tricks=("mixup",)),
        make_record("resnet34b_mixup-warmup", tricks=("mixup",)),
        make_record("/x/artifact", tricks=("mixup",)),
        make_record("timm:resnet18"),
        make_record("scratch:resnet18b"),
    ]
    rows, unknown = known_rows(records)
    assert unknown == ["/x/artifact"]
    assert pairs_among(rows.values()) == [
        Pair(trick="label_smoothing", having="resnet50d_mine", lacking="resnet50d_other"),
        Pair(trick="warmup", having="resnet18b_mixup", lacking="resnet18b_mixup-warmup"),
    ]


def test_other_knobs_are_another_trick() -> None:
    """Of three shares of noise none says anything of the others, and all have one control."""
    shares = [made(["label_noise"], knobs=f'{{"fraction":{x}}}') for x in (0.2, 0.5)]
    rows = [
        Made(backbone=f"n{at}", setting="one", tricks=row.tricks) for at, row in enumerate(shares)
    ]
    foreign = made(["other"], knobs="3")  # a recipe of other people's may hold anything
    pairs = pairs_among([made(""), *rows, foreign])
    assert {(pair.trick, pair.having) for pair in pairs} == {
        ("label_noise(0.2)", "n0"),
        ("label_noise(0.5)", "n1"),
        ("other", "other"),
    }
    several = [
        made("a", knobs='{"k":1,"teacher":"t","same":0}'),
        made("a", knobs='{"k":1,"teacher":"u","same":0}', setting="two"),
    ]
    pairs = pairs_among([made(""), made("", setting="two"), *several])
    assert [pair.trick for pair in pairs] == ["a(teacher=t)", "a(teacher=u)"]


def test_pairs_that_share_a_training_are_one_context() -> None:
    pairs = [
        Pair(trick="t", having=having, lacking=lacking)
        for having, lacking in (("h0", "l0"), ("h1", "l1"), ("h2", "l1"), ("h2", "l2"))
    ]
    scores = {"mAP": {f"h{n}": {0: 11.0 + n} for n in range(3)}}
    scores["mAP"] |= {f"l{n}": {0: 10.0} for n in range(3)}
    (found,) = worth_of_tricks(dict.fromkeys(scores, pairs), scores)
    units = [1.0, mean([2.0, 3.0, 3.0])]
    assert (found.units, found.difference.n) == ("contexts", 2)
    assert found.difference.mean == pytest.approx(mean(units))
    assert found.p_value == pytest.approx(stats.ttest_1samp(units, 0).pvalue)


def test_rows_of_two_bases_do_not_hide_each_other() -> None:
    rows = [
        Made(backbone=f"{base}{names}", setting="one", tricks=made(names).tricks, base=base * 64)
        for base in "12"
        for names in ("", "a", "ab", "b")
    ]
    found = {(pair.trick, pair.having, pair.lacking) for pair in pairs_among(rows)}
    assert found == {
        pair
        for base in "12"
        for pair in (
            ("a", f"{base}a", base),
            ("b", f"{base}b", base),
            ("a", f"{base}ab", f"{base}b"),
            ("b", f"{base}ab", f"{base}a"),
        )
    }
    values = shapley_values(rows, {row.backbone: {0: float(len(row.tricks))} for row in rows})
    assert set(values) == {"1ab", "2ab"}


def test_of_unknown_bases_the_recorded_numbers_decide(make_record: MakeRecord) -> None:
    def record(name: str, rate: float, batch: int, *tricks: str) -> Record:
        knobs = {"mixup": {"alpha": 0.2}, "large_batch": {"batch_size": 1024}, "mine": {}}
        recipe = {
            "optimizer": {"learning_rate": rate, "momentum": 0.9},
            "batch_size": batch,
            "tricks": {trick: knobs[trick] for trick in tricks},
        }
        protocol = {"architecture": "resnet50d", "recipe": recipe}
        return make_record(f"resnet50d_{name}", "classification", protocol=protocol)

    rows, _ = known_rows(
        [
            record("ours", 0.1, 256),
            record("theirs", 0.5, 256),
            record("ours_mixup", 0.1, 256, "mixup"),
            record("their_mixup", 0.5, 256, "mixup"),
            record("lonely_mixup", 0.7, 256, "mixup"),
            # A larger batch sets these two numbers, and no other one.
            record("large", 0.4, 1024, "large_batch"),
            # What a trick sets that is not known here is not known.
            record("unknown", 0.2, 256, "mine"),
        ]
    )
    assert {(pair.trick, pair.having, pair.lacking) for pair in pairs_among(rows.values())} == {
        ("mixup", "resnet50d_ours_mixup", "resnet50d_ours"),
        ("mixup", "resnet50d_their_mixup", "resnet50d_theirs"),
        ("large_batch", "resnet50d_large", "resnet50d_ours"),
    }
    assert {(p.with_it, p.without) for p in pairs_of(list(rows.values()), "mixup")} == {
        ("resnet50d_ours_mixup", "resnet50d_ours"),
        ("resnet50d_their_mixup", "resnet50d_theirs"),
    }


def test_softened_labels_of_pairs_with_other_seeds_are_not_averaged() -> None:
    """As many seeds and none in common: the pairs that have the same ones count."""
    mixup = ("mixup", "{}")
    rows = [
        Made(backbone=f"{name}{'+' * with_it}", setting=name, tricks=frozenset([mixup][:with_it]))
        for name in "abc"
        for with_it in (0, 1)
    ]
    gains = {"a": {0: 9.0, 1: 8.0}, "b": {2: 1.0, 3: 2.0}, "c": {2: 3.0, 3: 6.0}}
    scores: dict[str, dict[int, float]] = {
        name: dict.fromkeys(of, 50.0) for name, of in gains.items()
    }
    scores |= {f"{name}+": {s: 50 + gain for s, gain in of.items()} for name, of in gains.items()}
    (found,) = [
        test
        for test in run_tests(rows, {"mAP": scores})
        if (test.trick, test.metric) == ("mixup", "mAP")
    ]
    assert [pair.without for pair in found.pairs] == ["b", "c"]
    assert found.difference is not None
    assert found.difference.n == 2
    assert found.difference.mean == pytest.approx(3.0)


def test_the_interval_is_over_contexts_where_there_are_more_of_them() -> None:
    pairs = [Pair(trick="t", having=f"h{n}", lacking=f"l{n}") for n in range(3)]
    gains = [[1.0, 2.0], [4.0, 4.0], [0.5, 1.5]]
    scores = {
        "mAP": {
            **{f"h{n}": {0: 10 + gain[0], 1: 20 + gain[1]} for n, gain in enumerate(gains)},
            **{f"l{n}": {0: 10.0, 1: 20.0, 7: 5.0} for n in range(3)},
        }
    }
    (found,) = worth_of_tricks(dict.fromkeys(scores, pairs), scores)
    means = [1.5, 4.0, 1.0]
    half = stats.t.ppf(0.975, 2) * stdev(means) / math.sqrt(3)
    assert found.units == "contexts"
    assert found.difference.mean == pytest.approx(mean(means))
    assert found.difference.ci95 == pytest.approx((mean(means) - half, mean(means) + half))
    assert found.p_value == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert found.verdict == "no evidence"


def test_the_interval_is_over_seeds_where_there_are_more_of_them() -> None:
    pairs = [Pair(trick="t", having=f"h{n}", lacking=f"l{n}") for n in range(2)]
    gains = {"h0": [1.0, 1.2, 1.4], "h1": [3.0, 3.4, 3.2]}
    scores = {
        "mIoU": {
            **{name: {s: 50 + g for s, g in enumerate(gain)} for name, gain in gains.items()},
            **{f"l{n}": dict.fromkeys(range(3), 50.0) for n in range(2)},
        }
    }
    (found,) = worth_of_tricks(dict.fromkeys(scores, pairs), scores)
    by_seed = [2.0, 2.3, 2.3]
    assert found.units == "seeds"
    assert found.difference.n == 3
    assert found.difference.mean == pytest.approx(mean(by_seed))
    assert found.p_value == pytest.approx(stats.ttest_1samp(by_seed, 0).pvalue)
    assert found.verdict == "better"


def test_p_values_are_corrected_over_the_tricks() -> None:
    pairs = [Pair(trick=t, having=f"h{t}", lacking="l") for t in "abc"]
    gains = {"a": [1.0, 1.1, 1.2], "b": [1.0, 1.2, 1.5], "c": [-1.0, 0.0, 1.5]}
    scores = {
        "top1": {
            **{f"h{t}": dict(enumerate(gain)) for t, gain in gains.items()},
            "l": dict.fromkeys(range(3), 0.0),
        }
    }
    p = {t: stats.ttest_1samp(gain, 0).pvalue for t, gain in gains.items()}
    corrected = {w.trick: w.p_value for w in worth_of_tricks(dict.fromkeys(scores, pairs), scores)}
    assert corrected["a"] == pytest.approx(3 * p["a"])
    assert corrected["b"] == pytest.approx(max(3 * p["a"], 2 * p["b"]))
    assert corrected["c"] == pytest.approx(p["c"])


def test_one_difference_alone_has_no_interval() -> None:
    pair = Pair(trick="t", having="h", lacking="l")
    (found,) = worth_of_tricks({"mAP": [pair]}, {"mAP": {"h": {0: 3.0}, "l": {0: 1.0}}})
    assert (found.difference.mean, found.difference.ci95) == (2.0, None)
    assert found.verdict == "no evidence"
    assert worth_of_tricks({"mAP": [pair]}, {"mAP": {"h": {0: 3.0}, "l": {1: 1.0}}}) == []


def test_of_one_seed_the_images_decide() -> None:
    pair = Pair(trick="t", having="h", lacking="l")
    scores = {"mAP": {"h": {0: 13.0}, "l": {0: 11.0}}}
    seen = ByImage(mean=2.0, ci95=(0.5, 3.1), n_images=200, p_value=0.01)
    asked: list[tuple[str, list[tuple[Pair, int]]]] = []

    def by_image(metric: str, differences: Sequence[tuple[Pair, int]]) -> ByImage:
        asked.append((metric, list(differences)))
        return seen

    (found,) = worth_of_tricks({"mAP": [pair]}, scores, by_image)
    assert asked == [("mAP", [(pair, 0)])]
    assert (found.units, found.difference.n, found.difference.ci95) == ("images", 200, (0.5, 3.1))
    assert (found.p_value, found.verdict) == (0.01, "better")
    # What is not of these numbers is not used; nor is it where the seeds can tell.
    seen = replace(seen, mean=5.0)
    (found,) = worth_of_tricks({"mAP": [pair]}, scores, by_image)
    assert (found.units, found.difference.ci95) == ("", None)
    asked.clear()
    worth_of_tricks(
        {"mAP": [pair]}, {"mAP": {"h": {0: 3.0, 1: 4.0}, "l": {0: 1.0, 1: 1.0}}}, by_image
    )
    assert asked == []


ADDITIVE = {"a": 3.0, "b": -1.0, "c": 0.5}


def test_in_an_additive_game_each_gets_its_own() -> None:
    rows = parts("abc")
    scores = {r.backbone: {0: 20 + sum(ADDITIVE[name] for name in r.names)} for r in rows}
    values = shapley_values(rows, scores)["a+b+c"]
    assert {name: found.value.mean for name, found in values.items()} == pytest.approx(ADDITIVE)
    assert all(value.error is None for value in values.values())


def test_each_seed_has_its_own_shapley_value() -> None:
    """The interval is over the seeds, the verdict after Holm's correction over the tricks."""
    by_trick = {"a": [3.0, 3.4, 3.1], "b": [-1.0, 0.5, 1.2], "c": [0.5, 0.9, 1.4]}
    rows = parts("abc")
    scores = {
        r.backbone: {seed: 20 + sum(by_trick[name][seed] for name in r.names) for seed in range(3)}
        for r in rows
    }
    scores["base"][7] = 99.0  # a seed that the others do not have
    values = shapley_values(rows, scores)["a+b+c"]
    p = {t: stats.ttest_1samp(of, 0).pvalue for t, of in by_trick.items()}
    assert p["a"] < p["c"] < p["b"]
    for trick, of in by_trick.items():
        half = stats.t.ppf(0.975, 2) * stdev(of) / math.sqrt(3)
        assert values[trick].value.n == 3
        assert values[trick].value.ci95 == pytest.approx((mean(of) - half, mean(of) + half))
    assert values["a"].p_value == pytest.approx(3 * p["a"])
    assert values["c"].p_value == pytest.approx(2 * p["c"])
    assert {t: found.verdict for t, found in values.items()} == {
        "a": "better",
        "b": "no evidence",
        "c": "no evidence",
    }


def test_a_glove_game_by_hand() -> None:
    # a has a left glove, b and c a right one each: a pair is worth 1. Of the six orders a comes
    # after a right glove in four: 4/6; b makes the pair in one (a b c), c in one (a c b): 1/6.
    rows = parts("abc")
    scores = {r.backbone: {0: float("a" in r.names and len(r.names) > 1)} for r in rows}
    values = shapley_values(rows, scores)["a+b+c"]
    assert {name: found.value.mean for name, found in values.items()} == pytest.approx(
        {"a": 4 / 6, "b": 1 / 6, "c": 1 / 6}
    )


def test_sampled_orders_give_the_mean_and_its_standard_error() -> None:
    orders = list(islice(drawn_orders("abcdef"), 3))
    prefixes = {frozenset(order[:count]) for order in orders for count in range(7)}
    # The tricks a and b are worth 1 together, and each of the others 2 alone.
    worth = {p: 2.0 * len(p - set("ab")) + (1.0 if {"a", "b"} <= p else 0.0) for p in prefixes}
    rows = [made(prefix) for prefix in prefixes]
    scores = {row.backbone: {5: worth[row.names]} for row in rows}
    # What comes later is not there: the fourth order has a prefix that none of the three has.
    assert any(
        frozenset(next(islice(drawn_orders("abcdef"), 3, None))[:count]) not in prefixes
        for count in range(7)
    )
    values = shapley_values(rows, scores)["a+b+c+d+e+f"]
    late = [1.0 if order.index("a") > order.index("b") else 0.0 for order in orders]
    assert values["a"].orders == 3
    assert values["a"].value.mean == pytest.approx(mean(late))
    assert values["a"].error == pytest.approx(stdev(late) / math.sqrt(3))
    assert values["c"].value.mean == pytest.approx(2.0)
    assert values["c"].error == pytest.approx(0.0)
    assert sum(found.value.mean for found in values.values()) == pytest.approx(9.0)


def test_an_order_that_happens_to_be_there_is_no_sample() -> None:
    def names(rows: list[Made]) -> dict[str, dict[int, float]]:
        return {row.backbone: {0: float(len(row.tricks))} for row in rows}

    first = next(drawn_orders("abcd"))
    stack = [made(first[:count]) for count in range(5)]
    assert shapley_values(stack, names(stack)) == {}
    rows = [*parts("abcd"), made("abcde")]  # a part of it has all its orders, it has not
    assert set(shapley_values(rows, names(rows))) == {"a+b+c+d"}


def test_sampling_agrees_with_all_orders_in_the_long_run() -> None:
    def glove(names: frozenset[str]) -> float:
        return float("a" in names and len(names) > 1)

    gains = [
        glove(frozenset(order[: order.index("a") + 1]))
        for order in islice(drawn_orders("abc"), 400)
    ]
    exact = [glove(frozenset(o[: o.index("a") + 1])) for o in permutations("abc")]
    assert mean(gains) == pytest.approx(mean(exact), abs=0.1)  # four standard errors


def material(records: list[Record]) -> Material:
    rows = [
        RowName(backbone=name, control=None) for name in dict.fromkeys(r.backbone for r in records)
    ]
    tasks = ("detection", "segmentation")
    table = make_table(records, benchmark="mini", rows=rows, seeds=(0, 1, 2), tasks=tasks)
    return Material(table=table, records=tuple(records), evidence=lambda _: None)


def rows_of(make_record: MakeRecord, gains: Mapping[str, list[float]]) -> list[Record]:
    return [
        make_record(
            name, "detection", seed, {"mAP": 30 + value}, tricks=RECIPES["mixup"].trick_names
        )
        for name, values in gains.items()
        for seed, value in enumerate(values)
    ]


def grid_of(found: Section) -> Grid:
    return next(block for block in found.blocks if isinstance(block, Grid))


def test_the_section_says_which_tricks_helped_and_where(make_record: MakeRecord) -> None:
    gains = {
        "resnet50d_mixup": [5.0, 5.3, 5.1],
        "resnet50d_mixup-warmup": [0.0, 0.1, 0.2],
        "resnet50d_mixup-zero_gamma": [4.0, 6.0, 5.2],
    }
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    assert found.lead == "2 tricks were added to otherwise equal recipes."
    sentence, small = found.answer
    assert isinstance(sentence, Paragraph)
    assert isinstance(small, Grid)
    assert sentence.text == "Added to otherwise equal recipes, 1 of 2 tricks raises mAP."
    # 5.0, 5.2 and 4.9 points: mean 5.03, and Student's 95% of three: 4.303 * 0.153 / sqrt(3)
    assert [[cell.text for cell in row] for row in small.rows] == [
        ["warmup", "↑ +5.0 [+4.7, +5.4]"],
        ["zero_gamma", "+0.1 no evidence"],
    ]
    rows = {row[0].text: row for row in grid_of(found).rows}
    assert rows["warmup"][1].text.startswith("+5.0 [")
    assert "resnet50d_mixup minus resnet50d_mixup-warmup" in rows["warmup"][1].detail
    assert rows["zero_gamma"][1].text.endswith("no evidence")
    _draw(found)


def test_the_section_names_bundles_and_what_holm_takes_back(make_record: MakeRecord) -> None:
    gains = {
        "resnet50d_smooth": [0.0, 0.1, 0.2],
        "resnet50d_mixup": [2.0, 2.1, 2.9],
        "resnet50d_cosine": [-0.3, 0.4, 0.1],
    }
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    assert found.lead.startswith("1 trick and 1 bundle of tricks were added to")
    rows = {row[0].text: row for row in grid_of(found).rows}
    assert list(rows) == ["label_smoothing", "mixup + epochs (added together)"]
    p = stats.ttest_1samp([2.0, 2.0, 2.7], 0).pvalue
    assert p < 0.05  # and so is 2 p: there is evidence
    assert f"p = {2 * p:.3g}" in rows["mixup + epochs (added together)"][1].detail
    gains["resnet50d_mixup"] = [2.0, 2.1, 3.8]
    p = stats.ttest_1samp([2.0, 2.0, 3.6], 0).pvalue
    assert 0.025 < p < 0.05
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    cell = grid_of(found).rows[1][1]
    assert cell.text.endswith("no evidence")
    assert "holds for this row alone; over the 2 rows" in cell.detail
    assert "holds for this row alone" not in grid_of(found).rows[0][1].detail
    _draw(found)


def test_a_long_bundle_is_called_by_its_two_recipes(make_record: MakeRecord) -> None:
    """Its table 6: `efficient` is `standard` with five tricks at once."""
    gains = {"resnet50d_standard": [0.0, 0.1, 0.2], "resnet50d_efficient": [2.0, 2.1, 2.9]}
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    assert isinstance(found.answer[1], Grid)
    assert found.answer[1].rows[0][0].text == "efficient minus standard"
    (row,) = grid_of(found).rows
    assert row[0].text == "efficient minus standard (5 tricks added together)"
    assert "large_batch, warmup, zero_gamma" in row[-1].detail
    _draw(found)
    derived = "resnet50d_mixup-warmup"  # which no recipe is called
    gains = {"resnet50d_standard": [0.0, 0.1, 0.2], derived: [2.0, 2.1, 2.9]}
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    assert grid_of(found).rows[0][0].text.startswith("large_batch + zero_gamma + ")


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ({"smooth": 3.0}, "the one trick raises mAP"),
        ({"smooth": -3.0}, "the one trick lowers mAP"),
        ({"smooth": 0.0}, "the one trick does not change mAP beyond chance"),
        ({"mixup": -3.0}, "the one bundle of tricks lowers mAP"),
        ({"cosine+mixup": -3.0, "smooth": 3.0}, "1 of 2 tricks raises mAP and 1 lowers it"),
        ({"cosine+mixup": -3.0, "smooth": -3.0}, "2 of 2 tricks lower mAP"),
        ({"cosine+mixup": 0.0, "smooth": 0.0}, "none of 2 tricks changes mAP beyond chance"),
    ],
)
def test_the_answer_counts_what_raises_and_what_lowers(
    make_record: MakeRecord, gains: dict[str, float], said: str
) -> None:
    lacking = "smooth" if "mixup" in gains else "cosine"
    noise = [0.1, -0.2, 0.1]
    rows = {f"resnet50d_{lacking}": [0.0, 0.0, 0.0]}
    rows |= {f"resnet50d_{name}": [gain + x for x in noise] for name, gain in gains.items()}
    found = section(material(rows_of(make_record, rows)))
    assert found is not None
    assert isinstance(found.answer[0], Paragraph)
    assert found.answer[0].text == f"Added to otherwise equal recipes, {said}."


def test_a_trick_that_acts_in_the_test_alone_is_not_judged_by_the_plain_score() -> None:
    """Its plain scores are those of the row without it: the rows behind it are compared as such."""

    def tuned(recipe: str, score: float, *tricks: str, **more: float) -> Record:
        made_of: dict[str, dict[str, Any]] = {name: {} for name in ("optimizer", *tricks)}
        measured = {"tuned_top1": score, **more}
        return record_of(
            f"net~{recipe}",
            0,
            None,
            task="finetune",
            control=None,
            protocol={"recipe": {"tricks": made_of}},
            metrics={name: Metric(value=value, n=50) for name, value in measured.items()},
        )

    views = tuned("linear+test_time_views", 94.0, "test_time_views", tta_top1=92.0)
    plain, soft = tuned("linear", 94.0), tuned("linear+label_smoothing", 90.0, "label_smoothing")
    both = tuned("x", 91.0, "test_time_views", "mixup", tta_top1=92.0)
    found = section(material([views, plain, soft, both]))
    assert found is not None
    rows = {row[0].text: row for row in grid_of(found).rows}
    assert set(rows) == {"label_smoothing", "mixup"}
    assert "net~linear+label_smoothing minus net~linear:" in rows["label_smoothing"][1].detail
    assert "net~x minus net~linear:" in rows["mixup"][1].detail
    assert isinstance(found.answer[0], Paragraph)
    assert "2 tricks" in found.answer[0].text
    (said,) = [line for line in found.left_out if line.startswith("test_time_views")]
    assert said.endswith("stands in the section Test-time augmentation")
    alone = section(material([views, plain]))
    assert alone is not None
    assert not alone.answer


def test_an_interval_of_nothing_has_no_minus() -> None:
    values = {"tuned_top1": Metric(value=80.0, n=10)}
    made_of: dict[str, dict[str, Any]] = {"linear": {"a": {}}, "sure": {"a": {}, "b": {}}}
    records = [
        record_of(
            f"net~{name}",
            0,
            None,
            task="finetune",
            control=None,
            protocol={"recipe": {"tricks": tricks}},
            metrics=values,
        )
        for name, tricks in made_of.items()
    ]
    nothing = ByImage(mean=-0.0, ci95=(0.0, -0.0), n_images=10, p_value=1.0)
    drawn = SimpleNamespace(difference=lambda *_: nothing, problems={}, draws=1000)
    found = section(replace(material(records), bootstrap=cast("Any", drawn)))
    assert found is not None
    assert grid_of(found).rows[0][1].text == "+0.0 [+0.0, +0.0] no evidence by image"


def test_long_bundles_of_fine_tuning_have_names_too() -> None:
    def worth(*rows: str) -> Worth:
        pairs = [Pair(trick="x", having=f"{n}~finetune", lacking=f"{n}~plain") for n in rows]
        pairs += [Pair(trick="x", having="net~linear", lacking="net~plain")] * (not rows)
        difference = Interval(mean=1.0, std=None, n=1, ci95=None)
        return Worth(
            trick="x",
            metric="tuned_top1",
            difference=difference,
            units="",
            differences={pair: {0: 1.0} for pair in pairs},
            p_value=None,
            verdict=None,
            bundle=("a", "b", "c", "d"),
        )

    assert worth("net", "/a/path").recipes == "finetune minus plain"
    mixed = replace(worth("net"), differences={**worth("net").differences, **worth().differences})
    assert mixed.recipes is None
    assert replace(worth("net"), bundle=("a", "b")).recipes is None


def _draw(found: Section) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    for block in found.blocks:
        if isinstance(block, Plot):
            assert block.alt
            figure = Figure(figsize=block.size)
            block.draw(figure)
            figure.canvas.draw()


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.0], [0.0, 0.0]], ids=["one", "same", "zero"])
def test_one_seed_and_zero_variance_break_nothing(
    make_record: MakeRecord, values: list[float]
) -> None:
    gains = {"resnet50d_mixup": values, "resnet50d_mixup-warmup": [0.0] * len(values)}
    found = section(material(rows_of(make_record, gains)))
    assert found is not None
    small = found.answer[1]
    assert isinstance(small, Grid)
    assert small.rows[0][1].text.startswith(f"+{values[0]:.1f} ")
    # Two seeds without any difference are as far from evidence as can be.
    said = "no evidence" if values == [0.0, 0.0] else "not tested"
    assert grid_of(found).rows[0][1].text.endswith(said)
    assert bool(found.left_out) == (len(values) == 1)
    _draw(found)


def test_what_was_only_pretrained_is_looked_at_too(make_record: MakeRecord) -> None:
    """`trickle pretrain` has no controls: none of its rows names one."""
    records = [
        make_record(f"resnet50d_{name}", "classification", seed, {"top1": top1}, control=None)
        for name, top1 in (("cosine", 58.0), ("smooth", 60.0))
        for seed in (0, 1)
    ]
    found = section(material([*records, make_record("scratch:resnet50d", "classification")]))
    assert found is not None
    assert grid_of(found).rows[0][0].text == "label_smoothing"
    assert grid_of(found).rows[0][1].sort == 2.0


def test_rows_without_a_pair_say_how_to_get_one(make_record: MakeRecord) -> None:
    found = section(material(rows_of(make_record, {"resnet50d_mixup": [1.0, 2.0]})))
    assert found is not None
    assert found.blocks == ()
    assert any("--ablate" in line for line in found.left_out)


def test_nothing_trained_nothing_said(make_record: MakeRecord) -> None:
    records = [make_record("scratch:resnet50d"), make_record("timm:resnet18", "segmentation")]
    assert section(material(records)) is None
    assert section(material([])) is None


def test_hostile_names_and_protocols_break_nothing(make_record: MakeRecord) -> None:
    evil = "<script>alert(1)</script>\n$x^2$"
    recipe = {"tricks": {evil: {"k": 1}, "warmup": {}}}
    plain = {"tricks": {"warmup": {}}}
    knobs = {"large_batch": {"batch_size": "many"}, "cosine_decay": [], "warmup": {"no": 1}}
    odd = [
        make_record(f"o{n}", "classification", 0, {"top1": 2.0}, protocol={"recipe": recipe})
        for n, recipe in enumerate(
            {"epochs": rate, "optimizer": rate, "tricks": dict(list(knobs.items())[:rate])}
            for rate in range(4)
        )
    ]
    records = [
        make_record("a\nb", "classification", 0, {"top1": 3.0}, protocol={"recipe": recipe}),
        make_record("c", "classification", 0, {"top1": 1.0}, protocol={"recipe": plain}),
        make_record("d", "classification", 0, {"top1": None}, protocol={"recipe": {"tricks": 3}}),
        make_record("e", "classification", 0, {}, protocol={}, status="failed", message="x"),
        *odd,
    ]
    found = section(material(records))
    assert found is not None
    assert grid_of(found).rows[0][1].sort == 2.0
    assert "\n" not in grid_of(found).rows[0][0].text
    _draw(found)
