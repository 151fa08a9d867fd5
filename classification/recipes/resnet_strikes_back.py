"""Wightman et al. 2021, *ResNet strikes back: an improved training procedure in timm*.

arXiv:2110.00476, Table 2: the procedures A1, A2 and A3, the strongest modern rival of the paper's
stack for a plain ResNet-50 (resnet50b).
"""

from __future__ import annotations

from classification.optimizers import Optimizer
from classification.recipe import Recipe
from classification.recipes.card import RecipeCard
from classification.tricks.binary_cross_entropy import BinaryCrossEntropy
from classification.tricks.color_scaling import ColorScaling
from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.drop_path import DropPath
from classification.tricks.evaluation_crop import EvaluationCrop
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.mixup_or_cut_mix import MixupOrCutMix
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.pca_lighting import PCALighting
from classification.tricks.rand_augment import RandAugment
from classification.tricks.random_resized_crop import RandomResizedCrop
from classification.tricks.repeated_augmentation import RepeatedAugmentation
from classification.tricks.train_resolution import TrainResolution
from classification.tricks.warmup import Warmup


def _procedure(
    *, epochs: float, learning_rate: float, weight_decay: float, magnitude: float, mixup: float
) -> Recipe:
    """What A1, A2 and A3 have in common."""
    base = Recipe(
        optimizer=Optimizer(name="lamb", learning_rate=learning_rate, weight_decay=weight_decay),
        batch_size=2048,
        epochs=epochs,
    )
    return (
        base
        | NoBiasDecay()
        | HalfPrecision()
        | CosineDecay()
        | Warmup(epochs=5)
        | RandomResizedCrop(interpolation="bicubic")
        | ColorScaling(0)
        | PCALighting(0)
        | RandAugment(
            num_ops=2, magnitude=magnitude, magnitude_std=0.5, probability=0.5, increasing=True
        )
        | MixupOrCutMix(mixup_alpha=mixup, cutmix_alpha=1.0, switch_probability=0.5)
        | BinaryCrossEntropy(threshold=0.2)
        | EvaluationCrop(0.95)
    )


a1 = (
    _procedure(epochs=600, learning_rate=5e-3, weight_decay=0.01, magnitude=7, mixup=0.2)
    | LabelSmoothing(0.1)
    | DropPath(0.05)
    | RepeatedAugmentation(3)
)
a2 = (
    _procedure(epochs=300, learning_rate=5e-3, weight_decay=0.02, magnitude=7, mixup=0.1)
    | DropPath(0.05)
    | RepeatedAugmentation(3)
)
a3 = _procedure(
    epochs=100, learning_rate=8e-3, weight_decay=0.02, magnitude=6, mixup=0.1
) | TrainResolution(160 / 224)

RECIPES: dict[str, Recipe] = {"rsb_a1": a1, "rsb_a2": a2, "rsb_a3": a3}

_NOTE = "mixed targets above 0.2 count as 1, as in the authors' configuration"
CARDS: dict[str, RecipeCard] = {
    name: RecipeCard(
        source="Wightman et al. 2021, arXiv:2110.00476, Tables 1 and 2",
        expected={"resnet50b": top1},
        note=_NOTE,
    )
    for name, top1 in {"rsb_a1": 80.4, "rsb_a2": 79.8, "rsb_a3": 78.1}.items()
}
