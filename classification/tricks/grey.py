"""Grey: images without their colours, in training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backbones.representation import Representation
from classification.tricks.trick import Card, Trick


@dataclass(frozen=True)
class Grey(Trick):
    """channels: 3 equal ones, or 1, for which the stem's weights are summed over its three: the
    same function with fewer operations.

    The luma 0.299 R + 0.587 G + 0.114 B.
    """

    channels: Literal[1, 3] = 3

    name = "grey"
    kind = "augmentation"
    alternatives = "representation"
    card = Card(
        paper="Xie and Richmond 2018",
        section="ECCV Workshops, pre-training on grayscale ImageNet",
        effect="not recorded here; for images whose colour says nothing of the class",
        conflicts=("distillation",),  # a teacher sees the same images, and knows RGB alone
    )

    def __post_init__(self) -> None:
        _ = self.representation

    @property
    def representation(self) -> Representation:
        return Representation(kind="grey", channels=self.channels)
