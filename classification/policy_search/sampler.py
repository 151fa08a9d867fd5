"""Which sub-policy to try next: a tree-structured Parzen estimator (Bergstra et al. 2011,
*Algorithms for Hyper-Parameter Optimization*, section 4), as the authors of Fast AutoAugment use.

Own code, since the libraries that have one keep a random state: here a suggestion is a function of
the trials before and of a generator, so that a search that was killed goes on in the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from classification.policy import POLICY_SPACE, Step, SubPolicy

if TYPE_CHECKING:
    import numpy as np

Trial = tuple[SubPolicy, float]
"""A sub-policy and its loss."""

STEPS = 2
"""Operations of a sub-policy, as in the paper."""
FIRST = 15
"""Trials that are drawn evenly before any is learned from."""
GOOD_SHARE = 0.25
CANDIDATES = 24
_WIDTH = 0.12
"""Standard deviation of the kernels over probabilities and levels."""


def suggest(trials: Sequence[Trial], rng: np.random.Generator) -> SubPolicy:
    """The next sub-policy: of `CANDIDATES` that are drawn like the good trials the one that is most
    unlike the others."""
    if len(trials) < FIRST:
        names = rng.choice(POLICY_SPACE.operations, size=STEPS)
        return tuple((str(name), float(rng.random()), float(rng.random())) for name in names)
    ranked = sorted(trials, key=lambda trial: trial[1])
    count = math.ceil(GOOD_SHARE * len(ranked))
    good, others = (_Density(part) for part in (ranked[:count], ranked[count:]))
    drawn = [tuple(good.draw(rng) for _ in range(STEPS)) for _ in range(CANDIDATES)]
    return max(drawn, key=lambda steps: sum(good.log(s) - others.log(s) for s in steps))


class _Density:
    """Over steps: an operation by how often it occurs, its two numbers by kernels around those that
    occur with it. Each operation counts once more than it occurs, with numbers drawn evenly. The
    steps of a pair are alike."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.numbers: dict[str, list[tuple[float, float]]] = {
            name: [] for name in POLICY_SPACE.operations
        }
        for sub_policy, _ in trials:
            for name, probability, level in sub_policy:
                self.numbers[name].append((probability, level))
        counts = {name: 1 + len(found) for name, found in self.numbers.items()}
        total = sum(counts.values())
        self.shares = {name: count / total for name, count in counts.items()}

    def draw(self, rng: np.random.Generator) -> Step:
        name = str(rng.choice(list(self.shares), p=list(self.shares.values())))
        known = self.numbers[name]
        place = int(rng.integers(len(known) + 1))
        if place == len(known):
            return name, float(rng.random()), float(rng.random())
        probability, level = (_reflect(rng.normal(x, _WIDTH)) for x in known[place])
        return name, probability, level

    def log(self, step: Step) -> float:
        name, *numbers = step
        known = self.numbers[name]
        kernels = (math.prod(map(_kernel, numbers, center)) for center in known)
        return math.log(self.shares[name] * (1 + sum(kernels)) / (1 + len(known)))


def _reflect(x: float) -> float:
    """Into [0, 1], at its ends."""
    x = abs(x) % 2
    return float(2 - x if x > 1 else x)


def _kernel(x: float, center: float) -> float:
    """The density of `_reflect` of a normal variable, up to reflections that are too far."""
    images = (x, -x, 2 - x)
    exponents = (-0.5 * ((image - center) / _WIDTH) ** 2 for image in images)
    return sum(map(math.exp, exponents)) / (_WIDTH * math.sqrt(2 * math.pi))
