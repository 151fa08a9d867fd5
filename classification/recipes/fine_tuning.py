"""Fine-tuning on one's own images, behind a `~`: `timm:resnet50.a1_in1k~finetune`.

Their numbers are for a few hundred to some ten thousand images as they are: batches of 32, epochs
of the images at hand. `plain` is what every technique is compared with; `finetune` adds to it what
the guides agree on, one trick after the other, so that each can be taken away by its name.

Learning rates that fall towards the stem: Howard and Ruder 2018, *Universal Language Model
Fine-tuning for Text Classification*, arXiv:1801.06146. AdamW, warmup, cosine, label smoothing and
layer-wise decay together: Bao et al. 2022, *BEiT*, arXiv:2106.08254, and He et al. 2022, *Masked
Autoencoders Are Scalable Vision Learners*, arXiv:2111.06377, Table 9. What transfers, and by which
head: Kornblith et al. 2019, *Do Better ImageNet Models Transfer Better?*, arXiv:1805.08974.
"""

from __future__ import annotations

from classification.augmentation import Augmentation
from classification.optimizers import SGD
from classification.recipe import Recipe
from classification.recipes.card import MEASURED_ON_PHOTOGRAPHS, RecipeCard
from classification.tricks.best_weights import BestWeights
from classification.tricks.cosine_decay import CosineDecay
from classification.tricks.early_stopping import EarlyStopping
from classification.tricks.flips import Flips
from classification.tricks.found_learning_rate import FoundLearningRate
from classification.tricks.gradual_unfreezing import GradualUnfreezing
from classification.tricks.head_only import HeadOnly
from classification.tricks.label_smoothing import LabelSmoothing
from classification.tricks.layer_decay import LayerDecay
from classification.tricks.one_cycle import OneCycle
from classification.tricks.optimizer import UseOptimizer
from classification.tricks.plain_views import PlainViews
from classification.tricks.random_resized_crop import RandomResizedCrop
from classification.tricks.step_decay import StepDecay
from classification.tricks.warmup import Warmup

_SQUARE = Augmentation(
    area=(1.0, 1.0), aspect_ratio=(1.0, 1.0), flip_probability=0.0, color=0.0, lighting_std=0.0
)
"""The largest central square, as it is."""

plain = Recipe(
    optimizer=SGD(learning_rate=0.01, momentum=0.9, nesterov=True, weight_decay=1e-4),
    batch_size=32,
    epochs=20,
    schedule=StepDecay((14,)),
    augmentation=_SQUARE,
)
finetune = (
    plain
    | UseOptimizer("adamw", learning_rate=1e-3, weight_decay=0.05)
    | Warmup(epochs=1)
    | CosineDecay()
    | LayerDecay(0.65)
    | RandomResizedCrop(area=(0.35, 1.0))
    | Flips(horizontal=0.5, vertical=0.0)
    | LabelSmoothing(0.1)
    | EarlyStopping(patience=8)
    | BestWeights()
)
gradual = finetune | GradualUnfreezing(epochs_per_stage=1)
found_one_cycle = finetune - Warmup - CosineDecay | OneCycle() | FoundLearningRate()
linear = plain | UseOptimizer("adamw", learning_rate=1e-3) | HeadOnly() | PlainViews()

FINE_TUNINGS: dict[str, Recipe] = {
    "finetune": finetune,
    "plain": plain,
    "gradual": gradual,
    "linear": linear,
    "found_one_cycle": found_one_cycle,
}

CARDS: dict[str, RecipeCard] = {
    "finetune": RecipeCard(
        source="Howard and Ruder 2018, arXiv:1801.06146; BEiT, arXiv:2106.08254; "
        "He et al. 2022, arXiv:2111.06377, Table 9",
        measured=MEASURED_ON_PHOTOGRAPHS,
        note="a gentler crop than ImageNet's: of few images each should show its object",
    ),
    "plain": RecipeCard(
        source="Kornblith et al. 2019, arXiv:1805.08974 (fine-tuning of all layers by SGD)",
        measured=MEASURED_ON_PHOTOGRAPHS,
        note="all layers at one rate, nothing else: what every technique is compared with",
    ),
    "gradual": RecipeCard(
        source="Howard and Ruder 2018, arXiv:1801.06146, sections 3.2 and 3.3",
        measured=MEASURED_ON_PHOTOGRAPHS,
        note="the head first, then one stage more after each epoch; for few images, where steps "
        "of all layers under a head that knows nothing yet could spoil what the backbone knows",
    ),
    "linear": RecipeCard(
        source="Kornblith et al. 2019, arXiv:1805.08974 (fixed features)",
        measured=MEASURED_ON_PHOTOGRAPHS,
        note="the head alone, on features that are computed once: seconds, and what the backbone "
        "knows without any learning of its own",
    ),
    "found_one_cycle": RecipeCard(
        source="Smith 2017, arXiv:1506.01186, section 3.3; Smith and Topin 2018, arXiv:1708.07120",
        measured=MEASURED_ON_PHOTOGRAPHS,
        note="a range test on the images at hand finds the highest rate of one cycle: where nobody "
        "knows which learning rate they want",
    ),
}
