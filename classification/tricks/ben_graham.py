"""Ben Graham's preprocessing: minus the local average colour; lighting goes, detail stays."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.representation import Representation
from classification.tricks.trick import Card, Trick


@dataclass(frozen=True)
class BenGraham(Trick):
    """sigma: of the Gaussian blur that makes the average, as a share of the view's side.

    The first of Kaggle's competition on diabetic retinopathy; in training and evaluation.
    """

    sigma: float = 1 / 60

    name = "ben_graham"
    kind = "augmentation"
    alternatives = "representation"
    card = Card(
        paper="Graham 2015",
        section="report on Kaggle's diabetic retinopathy detection, preprocessing",
        equation="4 image - 4 blur(image) + 128",
        effect="part of the winning entry; its own effect is not reported",
        conflicts=("distillation",),  # a teacher sees the same images, and knows RGB alone
    )

    def __post_init__(self) -> None:
        _ = self.representation

    @property
    def representation(self) -> Representation:
        return Representation(kind="ben_graham", sigma=self.sigma)
