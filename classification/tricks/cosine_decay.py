"""Cosine decay of the learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass

from classification.tricks.schedule import Schedule, progress
from classification.tricks.trick import BAG_OF_TRICKS, Card


@dataclass(frozen=True)
class CosineDecay(Schedule):
    """From the base learning rate to `final` times it.

    final: share of the base rate at the end. through_warmup: the cosine's time runs from the first
    step, under the warmup (timm's way), instead of from the warmup's end (the paper's).
    """

    final: float = 0.0
    through_warmup: bool = False

    name = "cosine_decay"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Loshchilov and Hutter 2017, arXiv:1608.03983)",
        section="section 5.1, Table 6",
        equation="eq. 3: 0.5 (1 + cos(pi t / T)) eta",
        effect="+0.75 for ResNet-50-D",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.final < 1:
            raise ValueError(f"final must lie in [0, 1), not {self.final}")

    def factor(self, epoch: float, *, start: float, epochs: float) -> float:
        begin = 0.0 if self.through_warmup else start
        cosine = 0.5 * (1 + math.cos(math.pi * progress(epoch, start=begin, epochs=epochs)))
        return self.final + (1 - self.final) * cosine
