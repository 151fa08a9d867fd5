"""He et al. 2019, *Bag of Tricks for Image Classification with CNNs*, arXiv:1812.01187.

Table 6, one line a row, for ResNet-50-D, Inception-V3 and MobileNet alike (`resnet50d_mixup`,
`inception_v3_mixup`, `mobilenet_mixup`); Table 5 is `efficient` with resnet50a to resnet50d, and
Table 4 the ladder from `standard` to `efficient`, at batch 256 and 1024, with resnet50a.
"""

from __future__ import annotations

from classification.recipe import Recipe
from classification.recipes.card import MEASURED_ON_MINI, RecipeCard
from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.distillation import Distillation
from classification.tricks.epochs import Epochs
from classification.tricks.half_precision import HalfPrecision
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.large_batch import LargeBatch
from classification.tricks.mixup import Mixup
from classification.tricks.no_bias_decay import NoBiasDecay
from classification.tricks.trick import Trick
from classification.tricks.warmup import Warmup
from classification.tricks.zero_gamma import ZeroGamma

standard = Recipe()
efficient = (
    standard | LargeBatch(1024) | Warmup(epochs=5) | ZeroGamma() | NoBiasDecay() | HalfPrecision()
)
cosine = efficient | CosineDecay()
smooth = cosine | LabelSmoothing(0.1)
distill = smooth | Distillation(teacher="resnet152d_smooth", temperature=20)
mixup = smooth | Mixup(alpha=0.2) | Epochs(200)
mixup_distill = mixup | Distillation(teacher="resnet152d_mixup", temperature=20)

RECIPES: dict[str, Recipe] = {
    "standard": standard,
    "efficient": efficient,
    "cosine": cosine,
    "smooth": smooth,
    "distill": distill,
    "mixup": mixup,
    "mixup_distill": mixup_distill,
}

_NOTE = "ResNet-50-D: mean of 4 runs in the CVPR version"


def _row(**expected: float) -> RecipeCard:
    return RecipeCard(
        source="He et al. 2019, Table 6", expected=expected, measured=MEASURED_ON_MINI, note=_NOTE
    )


CARDS: dict[str, RecipeCard] = {
    "standard": RecipeCard(
        source="He et al. 2019, Table 2",
        expected={"resnet50a": 75.87, "inception_v3": 77.32, "mobilenet": 69.03},
        measured=MEASURED_ON_MINI,
        note="Tables 8 and 9 give 76.14 for resnet50b, which no row of Tables 4 and 5 does",
    ),
    "efficient": RecipeCard(
        source="He et al. 2019, Tables 3, 5 and 6",
        expected={
            "resnet50d": 77.26,
            "resnet50a": 76.21,
            "resnet50b": 76.66,
            "resnet50c": 76.87,
            "inception_v3": 77.50,
            "mobilenet": 71.90,
        },
        measured=MEASURED_ON_MINI,
        note=_NOTE,
    ),
    "cosine": _row(resnet50d=77.73, inception_v3=78.19, mobilenet=72.83),
    "smooth": _row(resnet50d=78.37, inception_v3=78.40, mobilenet=72.93),
    "distill": _row(resnet50d=78.63, inception_v3=78.26, mobilenet=71.97),
    "mixup": _row(resnet50d=79.01, inception_v3=78.77, mobilenet=73.28),
    "mixup_distill": _row(resnet50d=79.33, inception_v3=78.34, mobilenet=72.51),
}

_STEPS: dict[str, Trick] = {
    "warmup": Warmup(epochs=5),
    "zero_gamma": ZeroGamma(),
    "no_bias_decay": NoBiasDecay(),
    "half_precision": HalfPrecision(),
}
_TABLE_4 = {
    256: (75.87, 76.03, 76.19, 76.16, 76.15),
    1024: (75.17, 75.93, 76.37, 76.03, 76.21),
}


def _ladder(batch_size: int) -> dict[str, Recipe]:
    """Table 4: linear scaling, and one trick more in each row."""
    recipe = standard if batch_size == standard.batch_size else standard | LargeBatch(batch_size)
    rows = {f"ladder{batch_size}_linear_scaling": recipe}
    for name, trick in _STEPS.items():
        recipe = recipe | trick
        rows[f"ladder{batch_size}_{name}"] = recipe
    return rows


for _batch_size, _expected in _TABLE_4.items():
    for (_name, _recipe), _top1 in zip(_ladder(_batch_size).items(), _expected, strict=True):
        RECIPES[_name] = _recipe
        CARDS[_name] = RecipeCard(
            source=f"He et al. 2019, Table 4, batch {_batch_size}",
            expected={"resnet50a": _top1},
            measured=MEASURED_ON_MINI,
        )
