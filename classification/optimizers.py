"""The optimizer of a recipe, and which parameters it decays."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import nn
    from torch.optim import Optimizer


@dataclass(frozen=True, kw_only=True)
class SGD:
    """Stochastic gradient descent; He et al. 2019, section 2.1: Nesterov's accelerated gradient.

    learning_rate belongs to the recipe's batch size (section 3.1, linear scaling).
    """

    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 1e-4
    nesterov: bool = True

    def __post_init__(self) -> None:
        if self.learning_rate <= 0:
            raise ValueError(f"learning_rate must be positive, not {self.learning_rate}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), not {self.momentum}")
        if self.weight_decay < 0:
            raise ValueError(f"weight_decay must not be negative, not {self.weight_decay}")

    def build(
        self, model: nn.Module, *, decays: Callable[[nn.Parameter], bool], lr_scale: float = 1.0
    ) -> Optimizer:
        """A torch optimizer of two groups: parameters for which `decays` holds, the others."""
        import torch

        parameters = [p for p in model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in parameters if decays(p)], "weight_decay": self.weight_decay},
            {"params": [p for p in parameters if not decays(p)], "weight_decay": 0.0},
        ]
        knobs = asdict(self)
        lr = knobs.pop("learning_rate") * lr_scale
        return torch.optim.SGD([g for g in groups if g["params"]], lr=lr, **knobs)
