"""Half precision with float32 master weights."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class HalfPrecision(Trick):
    """The network computes in 16 bits; weights, their updates and the loss stay float32.

    format: "auto" is float16 on CUDA and bfloat16 on CPUs with instructions for it, where a short
    measurement, kept in the cache, finds it faster; else float32. The log says which and why, the
    record which precision was used. loss_scale:
    what the loss is multiplied with before gradients are taken, so that small ones survive;
    "dynamic" halves it where a gradient overflows. Only float16 needs it and uses it: bfloat16
    has the range of float32.
    """

    format: Literal["auto", "float16", "bfloat16"] = "auto"
    loss_scale: float | Literal["dynamic"] = "dynamic"

    name = "half_precision"
    kind = "efficiency"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Micikevicius et al. 2018, arXiv:1710.03740)",
        section="section 3.2, Tables 3 and 4",
        effect="2 to 3 times faster on V100; -0.01 at batch 256, +0.18 at batch 1024",
    )

    def __post_init__(self) -> None:
        if self.format not in ("auto", "float16", "bfloat16"):
            raise ValueError(f"format must be auto, float16 or bfloat16, not {self.format!r}")
        if self.loss_scale == "dynamic":
            return
        if isinstance(self.loss_scale, str) or not self.loss_scale > 0:
            raise ValueError(
                f'loss_scale must be "dynamic" or a positive number, not {self.loss_scale!r}'
            )
        if self.format == "bfloat16":
            raise ValueError(
                f'bfloat16 has no loss scale, not {self.loss_scale}: leave it "dynamic", or take '
                'format="float16"'
            )

    def apply(self, recipe: Recipe) -> Recipe:
        precision: Literal["half", "float16", "bfloat16"] = (
            "half" if self.format == "auto" else self.format
        )
        return replace(recipe, precision=precision, loss_scale=self.loss_scale)
