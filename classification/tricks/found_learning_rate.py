"""Found learning rate: a range test before the training chooses the recipe's rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe

Rule = Literal["valley", "steepest", "minimum"]

FEWEST_STEPS = 20


@dataclass(frozen=True)
class FoundLearningRate(Trick):
    """Before the training the rate grows from `lowest` to `highest` over `steps` optimizer steps,
    each by the same factor, with the recipe's own network, optimizer, images and losses; where the
    loss diverges it ends. The training then begins anew, with the rate that the loss suggests.

    rule: what of the smoothed loss suggests it. "steepest": where it falls fastest; "valley": the
    middle of its longest fall, which may begin long before a fall that is worth the name;
    "minimum": a tenth of the rate of its minimum.

    The rates are those of the steps: a benchmark's learning_rate_scale does not act on them. A
    schedule's highest rate is the one that is found, so that `one_cycle` and `triangular` follow
    it. Images for 20 steps or fewer are seen again and again: the loss then falls at any rate.
    """

    lowest: float = 1e-6
    highest: float = 1.0
    steps: int = 100
    rule: Rule = "steepest"

    name = "found_learning_rate"
    kind = "optimizer"
    card = Card(
        paper="Smith 2017, arXiv:1506.01186; the rules: fast.ai, lr_find",
        section="section 3.3, the LR range test",
        equation="rate of step i of n: lowest * (highest / lowest)^(i / (n - 1))",
        effect="not reported as ImageNet top-1; in place of a search over learning rates",
    )

    def __post_init__(self) -> None:
        if not 0 < self.lowest < self.highest:
            raise ValueError(
                "lowest must be positive and less than highest, not "
                f"{self.lowest} with highest {self.highest}"
            )
        if not isinstance(self.steps, int) or self.steps < FEWEST_STEPS:
            raise ValueError(
                f"steps must be a whole number, at least {FEWEST_STEPS}, not {self.steps}"
            )
        if self.rule not in get_args(Rule):
            raise ValueError(f"rule must be one of {', '.join(get_args(Rule))}, not {self.rule!r}")


def range_test_of(recipe: Recipe) -> FoundLearningRate | None:
    """The recipe's trick; None where its rate stands from the start."""
    return next((t for t in recipe.tricks if isinstance(t, FoundLearningRate)), None)
