"""Two scores of several backbones over the seeds that they have in common, and how ranks agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from eval.intervals import Interval, interval
from eval.sections.common_seeds import BySeed, common_seeds
from eval.significance import LEVEL, RankCorrelation, rank_correlation

FEWEST = 4
"""Backbones that a rank correlation needs: of three there are six orders, and any is by chance."""


@dataclass(frozen=True, kw_only=True)
class RankPair:
    """An upstream and a downstream score.

    seeds: of which the means are taken. values: backbone -> (upstream, downstream), of those that
    have both scores of all these seeds. others: the same of those that have both of some other
    seeds, over their own.
    """

    seeds: tuple[int, ...]
    values: Mapping[str, tuple[Interval, Interval]]
    others: Mapping[str, tuple[Interval, Interval]]

    def names(self, *, controls: bool) -> list[str]:
        """Of the backbones that count."""
        return [name for name in self.values if controls or not is_control(name)]

    @cached_property
    def apart(self) -> RankCorrelation | None:
        """Of pretrained backbones; None where they are too few, or one score is the same in all."""
        return self._correlation(self.names(controls=False))

    @cached_property
    def together(self) -> RankCorrelation | None:
        """Of all, those of random weights among them."""
        return self._correlation(self.names(controls=True))

    def _correlation(self, names: list[str]) -> RankCorrelation | None:
        if len(names) < FEWEST:
            return None
        return rank_correlation(*([self.values[name][i].mean for name in names] for i in (0, 1)))


def is_control(backbone: str) -> bool:
    return backbone.startswith("scratch:")


def rank_pair(upstream: BySeed, downstream: BySeed) -> RankPair:
    """Of what has both scores of at least one seed."""
    shared = {
        name: found
        for name, of in upstream.items()
        if (found := tuple(sorted(of.keys() & downstream.get(name, {}).keys())))
    }
    # Which seeds count is the pretrained backbones' matter: a control has seeds of its own.
    trained = {name: seeds for name, seeds in shared.items() if not is_control(name)}
    seeds = common_seeds(trained or shared)
    values: dict[str, tuple[Interval, Interval]] = {}
    others: dict[str, tuple[Interval, Interval]] = {}
    for name, own in shared.items():
        has_all = set(seeds) <= set(own)
        over = seeds if has_all else own
        x, y = (interval([of[name][seed] for seed in over]) for of in (upstream, downstream))
        assert x is not None, "it has a seed"
        assert y is not None, "it has a seed"
        (values if has_all else others)[name] = x, y
    return RankPair(seeds=seeds, values=values, others=others)


def is_evidence(found: RankCorrelation | None, p_value: float | None) -> bool:
    """Whether the interval is on one side of 0, and the corrected p-value says so, too."""
    if found is None or found.ci95 is None or p_value is None:
        return False
    low, high = found.ci95
    return (low > 0 or high < 0) and p_value < LEVEL
