"""What is said of a recipe beside its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MEASURED_ON_PHOTOGRAPHS = "on 2,000 photographs of ten classes (docs/fine_tuning.md)"
NOT_MEASURED = "not at ImageNet's scale by this project"
MEASURED_ON_MINI = f"on mini (docs/results.md); {NOT_MEASURED}"


@dataclass(frozen=True, kw_only=True)
class RecipeCard:
    """source: paper and table. expected: architecture -> ImageNet top-1 in percent, of the source.

    measured: what this project has measured itself. note: what a reader should know.
    """

    source: str
    expected: Mapping[str, float] = field(default_factory=dict)
    measured: str = NOT_MEASURED
    note: str = ""

    def command(self, recipe: str) -> str:
        """What trains the recipe on ImageNet."""
        architecture = next(iter(self.expected), "resnet50d")
        return f"trickle pretrain --backbone {architecture}_{recipe} --benchmark paper"
