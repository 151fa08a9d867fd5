"""Compilation of the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class Compile(Trick):
    """torch.compile traces the classifier and generates code for it; the first steps take longer.

    The same function; rounding differs.
    """

    name = "compile"
    kind = "efficiency"
    card = Card(
        paper="Ansel et al. 2024, ASPLOS (PyTorch 2)",
        section="TorchDynamo and TorchInductor",
        effect="speed only, on long trainings: compiling takes a minute or more",
    )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, compile=True)
