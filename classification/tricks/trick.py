"""What a trick is: knobs, a card, and the places at which it may act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from classification.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where a trick comes from and what to expect of it.

    effect: what the source reports, ImageNet top-1 in percent points unless it says otherwise.
    conflicts: names of tricks that cannot stand in one recipe with this one.
    """

    paper: str
    section: str
    equation: str | None = None
    effect: str
    conflicts: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return ", ".join(part for part in (self.paper, self.section, self.equation) if part)


BAG_OF_TRICKS = "He et al. 2019, arXiv:1812.01187"


@dataclass(frozen=True)
class Trick:
    """One trick: a frozen dataclass of its knobs. All methods do nothing unless overridden."""

    name: ClassVar[str]
    card: ClassVar[Card]

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with the numbers that this trick changes."""
        return recipe

    def initialize(self, backbone: nn.Module) -> None:
        """Changes the initial weights of a backbone, in place."""

    def decays(self, parameter: nn.Parameter) -> bool:
        """Whether weight decay acts on a parameter."""
        return True

    def transform_targets(self, targets: Tensor) -> Tensor:
        """targets: (B, K) rows summing to 1; so is the result."""
        return targets

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """images: (B, C, H, W) normalized; targets: (B, K). After all `transform_targets`."""
        return images, targets
