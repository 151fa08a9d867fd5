"""The tricks by name. A trick is one file in this folder and one line in `TRICKS`."""

from __future__ import annotations

from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.distillation import Distillation
from classification.tricks.epochs import Epochs
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.large_batch import LargeBatch
from classification.tricks.mixup import Mixup
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.trick import Card, Trick
from classification.tricks.warmup import Warmup
from classification.tricks.zero_gamma import ZeroGamma

TRICKS: dict[str, type[Trick]] = {
    "large_batch": LargeBatch,
    "warmup": Warmup,
    "zero_gamma": ZeroGamma,
    "no_bias_decay": NoBiasDecay,
    "half_precision": HalfPrecision,
    "cosine_decay": CosineDecay,
    "label_smoothing": LabelSmoothing,
    "distillation": Distillation,
    "mixup": Mixup,
    "epochs": Epochs,
}

__all__ = [
    "TRICKS",
    "Card",
    "CosineDecay",
    "Distillation",
    "Epochs",
    "HalfPrecision",
    "LabelSmoothing",
    "LargeBatch",
    "Mixup",
    "NoBiasDecay",
    "Trick",
    "Warmup",
    "ZeroGamma",
]
