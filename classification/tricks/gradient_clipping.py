"""Gradient clipping by norm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class GradientClipping(Trick):
    """max_norm: L2 norm of all gradients together, above which they are scaled down to it.

    Of the gradient as the optimizer gets it: after the loss scale is taken out and the parts of
    an accumulated batch are summed, before weight decay.
    """

    max_norm: float = 1.0

    name = "gradient_clipping"
    kind = "regularization"
    card = Card(
        paper="Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063",
        section="section 3.2, Algorithm 1",
        equation="g max_norm / |g| where |g| >= max_norm",
        effect="not reported on ImageNet; keeps a training from diverging",
    )

    def __post_init__(self) -> None:
        if not self.max_norm > 0:
            raise ValueError(f"max_norm must be positive, not {self.max_norm}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, gradient_clip=self.max_norm)
