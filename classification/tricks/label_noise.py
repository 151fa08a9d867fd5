"""Label noise: a share of the training labels says nothing; what other tricks are tried on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.mixup import MIXUP_PAPER
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np


def noisy_label(label: int, *, fraction: float, num_classes: int, rng: np.random.Generator) -> int:
    """`label`, or with probability `fraction` one drawn uniformly from all classes, which may be
    the same again."""
    drawn = int(rng.integers(num_classes))
    return drawn if rng.random() < fraction else label


@dataclass(frozen=True)
class LabelNoise(Trick):
    """fraction: of the training labels that are replaced by random ones, the same in each epoch;
    which, follows from the run's seed. Validation labels stay.

    Of K classes 1/K of the random labels are right by chance.
    """

    fraction: float

    name = "label_noise"
    kind = "targets"
    card = Card(
        paper=f"{MIXUP_PAPER} (after Zhang et al. 2017, arXiv:1611.03530)",
        section="section 3.4, Table 2",
        effect="a harm, on which tricks are compared: the paper trains on CIFAR-10 with 20, 50 and "
        "80% of random labels, where mixup memorizes fewer of them",
    )

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must lie in (0, 1], not {self.fraction}")

    def transform_label(self, label: int, num_classes: int, rng: np.random.Generator) -> int:
        return noisy_label(label, fraction=self.fraction, num_classes=num_classes, rng=rng)
