"""Mixup or CutMix, drawn for each batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.cut_mix import CutMix
from classification.tricks.mixup import Mixup, check_alpha
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


@dataclass(frozen=True)
class MixupOrCutMix(Trick):
    """timm's Mixup in batch mode; the partners are a random permutation, timm's the batch reversed.

    mixup_alpha, cutmix_alpha: of the two Beta distributions. switch_probability: of CutMix where
    a batch is mixed. probability: that a batch is mixed at all.
    """

    mixup_alpha: float = 0.8
    cutmix_alpha: float = 1.0
    switch_probability: float = 0.5
    probability: float = 1.0

    name = "mixup_or_cut_mix"
    kind = "mixing"
    alternatives = "pairing"
    card = Card(
        paper="Touvron et al. 2021 (DeiT), arXiv:2012.12877; Wightman et al. 2021, "
        "arXiv:2110.00476; Ridnik et al. 2022 (USI), arXiv:2204.03475",
        section="DeiT section 6, Table 9",
        effect="not reported alone for a ResNet; part of all three papers' recipes",
    )

    def __post_init__(self) -> None:
        check_alpha(self.mixup_alpha, "mixup_alpha")
        check_alpha(self.cutmix_alpha, "cutmix_alpha")
        for name in ("switch_probability", "probability"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must lie in [0, 1], not {getattr(self, name)}")

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        if rng.random() >= self.probability:
            return images, targets
        cuts = rng.random() < self.switch_probability
        chosen = CutMix(self.cutmix_alpha) if cuts else Mixup(self.mixup_alpha)
        return chosen.transform_batch(images, targets, rng)
