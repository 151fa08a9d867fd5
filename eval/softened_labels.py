"""The paper's finding, tested from records: softened labels help detection, not segmentation.

He et al. (arXiv:1812.01187), section 5: label smoothing, distillation and mixup each raise the mAP
of Faster R-CNN on Pascal VOC (table 8), while FCN on ADE20K gains from none of them (table 9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from eval.intervals import Interval, interval
from eval.made import Made
from eval.significance import holm, paired_t, verdict_of

TRICKS = {"label_smoothing": "label smoothing", "distillation": "distillation", "mixup": "mixup"}
"""As recipes name them, and in words."""
METRICS = {"mAP": "detection", "mIoU": "segmentation"}
_COMES_WITH = {"mixup": frozenset({"epochs"})}
"""The paper trains 200 epochs with mixup and 120 without, and compares the two."""

Effect = Literal["helps", "hurts", "no evidence", "not measured"]
Verdict = Literal["holds", "does not hold", "cannot be said"]

Values = Mapping[str, Mapping[int, float]]
"""backbone -> seed -> value."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two rows of one architecture that differ by one trick. longer: and by the length of the
    training, which the paper changes with it."""

    with_it: str
    without: str
    longer: bool = False


@dataclass(frozen=True, kw_only=True)
class Test:
    """Of one trick and one metric. difference: over seeds, of the mean over pairs; None where no
    seed has both rows of a pair. p_value: corrected over all tests; None without a spread."""

    __test__ = False  # of pytest

    trick: str
    metric: str
    pairs: tuple[Pair, ...]
    difference: Interval | None
    p_value: float | None
    effect: Effect


def pairs_of(rows: Sequence[Made], trick: str) -> tuple[Pair, ...]:
    """Rows of one setting whose tricks differ by this one alone (mixup: and by the epochs), the
    knobs of all others equal."""
    found = []
    for large in rows:
        if trick not in large.names:
            continue
        for small in rows:
            if trick in small.names or not small.tricks < large.tricks:
                continue
            more = large.names - small.names - {trick}
            alone = more <= _COMES_WITH.get(trick, frozenset())
            if alone and small.differs_by_tricks_alone(large):
                found.append(
                    Pair(with_it=large.backbone, without=small.backbone, longer=bool(more))
                )
    return tuple(found)


def run_tests(
    rows: Sequence[Made],
    values: Mapping[str, Values],
    p_by_image: Callable[[str, Sequence[Pair], int], float | None] = lambda *asked: None,
) -> tuple[Test, ...]:
    """One test for each trick and metric, in the order of TRICKS and METRICS.

    values: by metric. The differences of a seed are averaged over the pairs, since a seed's rows
    share their data order and their teachers, and the seeds are the sample. What counts are the
    pairs with most seeds, and where these are not the same seeds, the largest group that has the
    same. p_by_image(metric, pairs, seed): over the test images, asked where there is one seed.
    """
    found = []
    for trick in TRICKS:
        pairs = pairs_of(rows, trick)
        for metric in METRICS:
            used, by_seed = _differences(pairs, values.get(metric, {}))
            p_value = paired_t(by_seed) if by_seed else None
            if len(by_seed) == 1:
                p_value = p_by_image(metric, used, _seed_of(used, values[metric]))
            found.append((trick, metric, used, by_seed, p_value))
    p_values = holm([p_value for *_, p_value in found])
    return tuple(
        Test(
            trick=trick,
            metric=metric,
            pairs=used,
            difference=(difference := interval(by_seed)),
            p_value=p_value,
            effect=_effect(difference, p_value),
        )
        for (trick, metric, used, by_seed, _), p_value in zip(found, p_values, strict=True)
    )


def _differences(pairs: Iterable[Pair], values: Values) -> tuple[tuple[Pair, ...], list[float]]:
    """The pairs that have the same seeds, and most of them, and for each of these seeds the mean
    difference over the pairs."""
    groups: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        both = values.get(pair.with_it, {}).keys() & values.get(pair.without, {}).keys()
        if both:
            groups.setdefault(tuple(sorted(both)), []).append(pair)
    if not groups:
        return (), []
    seeds = max(groups, key=lambda seeds: (len(seeds), len(groups[seeds])))
    used = groups[seeds]
    return tuple(used), [
        sum(values[pair.with_it][seed] - values[pair.without][seed] for pair in used) / len(used)
        for seed in seeds
    ]


def _seed_of(pairs: Sequence[Pair], values: Values) -> int:
    """The one that the rows of these pairs share."""
    (seed,) = values[pairs[0].with_it].keys() & values[pairs[0].without].keys()
    return seed


def _effect(difference: Interval | None, p_value: float | None) -> Effect:
    if difference is None:
        return "not measured"
    effects: dict[str | None, Effect] = {"better": "helps", "worse": "hurts"}
    return effects.get(verdict_of(difference.mean, p_value), "no evidence")


def judge(tests: Sequence[Test]) -> Iterator[tuple[str, Verdict, str]]:
    """(trick, whether the paper's finding holds for it here, why), for each trick.

    That no evidence was found is no evidence that a trick does not help: the segmentation's half
    of the finding is only confirmed by a loss.
    """
    by_trick: dict[str, dict[str, Test]] = {}
    for test in tests:
        by_trick.setdefault(test.trick, {})[test.metric] = test
    for trick, of in by_trick.items():
        box, pixel = of["mAP"].effect, of["mIoU"].effect
        if box == "hurts" or pixel == "helps":
            reasons = ["it costs mAP"] * (box == "hurts") + ["it helps mIoU"] * (pixel == "helps")
            yield trick, "does not hold", " and ".join(reasons)
        elif box == "helps" and pixel == "hurts":
            yield trick, "holds", "it helps mAP and costs mIoU"
        else:
            yield trick, "cannot be said", "; ".join(_open(test) for test in of.values())


def _open(test: Test) -> str:
    """What one half of the finding lacks, or that it has it."""
    if test.effect == "not measured":
        return f"{test.metric}: no two rows with scores of one seed differ by this trick"
    assert test.difference is not None, "measured"
    if test.effect == "no evidence":
        if test.p_value is None and test.difference.n < 2:
            return f"{test.metric}: {test.difference.mean:+z.1f} with one seed: not tested"
        if test.p_value is None:
            same = f"{test.metric}: {test.difference.mean:+z.1f} in every seed"
            return f"{same}, so no spread to judge it by"
        return f"{test.metric}: no evidence of a difference ({test.difference.mean:+z.1f})"
    return f"{test.metric}: it {test.effect}"
