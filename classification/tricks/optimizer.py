"""Another optimizer, by its name in timm."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from classification.optimizers import Optimizer
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class UseOptimizer(Trick):
    """optimizer: one of classification.optimizers.OPTIMIZERS.

    learning_rate (at the recipe's batch size) and weight_decay: None keeps the recipe's. momentum,
    betas, eps: None takes timm's own values, whatever the optimizer before had. LargeBatch scales
    the rate that it finds: add it after this one where the rate belongs to the smaller batch.
    """

    optimizer: str
    learning_rate: float | None = None
    weight_decay: float | None = None
    momentum: float | None = None
    betas: tuple[float, ...] | None = None
    eps: float | None = None

    name = "optimizer"
    kind = "optimizer"
    alternatives: ClassVar[str | None] = "optimizer"
    card = Card(
        paper=(
            "Adam: Kingma and Ba 2015, arXiv:1412.6980; AdamW: Loshchilov and Hutter 2019, "
            "arXiv:1711.05101; Adafactor: Shazeer and Stern 2018, arXiv:1804.04235; RAdam: Liu et "
            "al. 2020, arXiv:1908.03265; LAMB: You et al. 2020, arXiv:1904.00962; NovoGrad: "
            "Ginsburg et al. 2019, arXiv:1905.11286"
        ),
        section="the algorithm of each; code: timm.optim",
        effect="differs with the optimizer, its rate and its weight decay; no number holds for all",
    )

    def __post_init__(self) -> None:
        self._changed(Optimizer(learning_rate=1.0))  # refuses what is out of range
        if self.betas is not None:
            object.__setattr__(self, "betas", tuple(self.betas))

    def _changed(self, present: Optimizer) -> Optimizer:
        rate = present.learning_rate if self.learning_rate is None else self.learning_rate
        decay = present.weight_decay if self.weight_decay is None else self.weight_decay
        return replace(
            present,
            name=self.optimizer,
            learning_rate=rate,
            weight_decay=decay,
            momentum=self.momentum,
            betas=self.betas,
            eps=self.eps,
        )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, optimizer=self._changed(recipe.optimizer))
