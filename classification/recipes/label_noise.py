"""Training on labels of which a share is random: Zhang et al. 2018, *mixup: Beyond Empirical Risk
Minimization*, arXiv:1710.09412, section 3.4 and Table 2.

    trickle pretrain --backbone resnet50d_noise20 resnet50d_noise20+mixup
    trickle pretrain --backbone resnet50d_noise50 resnet50d_noise50+mixup
    trickle pretrain --backbone resnet50d_noise80 resnet50d_noise80+mixup

sets empirical risk minimization (erm) and mixup side by side with 20, 50 and 80% of random labels;
any other trick stands in mixup's place. Validation labels stay right, and 80% keep the random
labels that 20% have.

The paper asks this of CIFAR-10; here it is asked of the benchmark at hand and the recipe
`standard`, so that no number of the paper's is to be expected.
"""

from __future__ import annotations

from classification.recipe import Recipe
from classification.recipes.bag_of_tricks import standard
from classification.recipes.card import RecipeCard
from classification.tricks.label_noise import LabelNoise

noise20 = standard | LabelNoise(0.2)
noise50 = standard | LabelNoise(0.5)
noise80 = standard | LabelNoise(0.8)

RECIPES: dict[str, Recipe] = {"noise20": noise20, "noise50": noise50, "noise80": noise80}

CARDS: dict[str, RecipeCard] = {
    name: RecipeCard(
        source="Zhang et al. 2018, arXiv:1710.09412, section 3.4",
        note=f"erm with {share}% of random labels; `{name}+mixup` is mixup on the same labels",
    )
    for name, share in {"noise20": 20, "noise50": 50, "noise80": 80}.items()
}
