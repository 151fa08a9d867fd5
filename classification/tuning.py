"""What fine-tuning does beside pretraining: which parts learn, how fast, and what is kept."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

STAGES = 4
"""Of every backbone, after its stem: they give C2..C5."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """The numbers of a recipe that only a training from given weights has a use for.

    layer_decay: factor on the learning rate from each part of the network to the one before it:
    head, stage 4, 3, 2, 1, stem. unfreeze_epochs: epochs of the recipe after which one more stage
    learns, the head from the start, the stem with stage 1; None: all learn at once. head_only: the
    backbone stays as it is. hidden: units of the layers between the pooled features and the
    classifier; hidden_dropout: share of each that is dropped in training. best_weights:
    the training ends with the weights of its best validation.
    """

    layer_decay: float = 1.0
    unfreeze_epochs: float | None = None
    head_only: bool = False
    hidden: tuple[int, ...] = ()
    hidden_dropout: float = 0.0
    best_weights: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], not {self.layer_decay}")
        if self.unfreeze_epochs is not None and not self.unfreeze_epochs > 0:
            raise ValueError(
                f"unfreeze_epochs must be positive, in epochs per stage, not {self.unfreeze_epochs}"
            )
        # Lists come from JSON and TOML files; a frozen object is to be hashable.
        object.__setattr__(self, "hidden", tuple(self.hidden))
        if any(not isinstance(units, int) or units < 1 for units in self.hidden):
            raise ValueError(f"hidden is whole numbers of units, at least 1, not {self.hidden}")
        if not 0 <= self.hidden_dropout < 1:
            raise ValueError(f"hidden_dropout must lie in [0, 1), not {self.hidden_dropout}")

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON of what is not as the defaults: what is added here changes no old record."""
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if getattr(self, item.name) != item.default
        }

    def check(self, *, epochs: float) -> None:
        """Raises ValueError where some stage would never learn in a training of so many epochs."""
        if self.unfreeze_epochs is not None and STAGES * self.unfreeze_epochs >= epochs:
            raise ValueError(
                f"{self.unfreeze_epochs:g} epochs for each stage leave the first one frozen until "
                f"epoch {STAGES * self.unfreeze_epochs:g} of {epochs:g}: unfreeze faster, or train "
                "longer"
            )

    def frozen_stages(self, epoch: float) -> int:
        """How far the backbone is frozen at an epoch of the recipe: 4 is all of it, 1..3 the stem
        and so many stages, -1 nothing.

        Howard and Ruder 2018 (arXiv:1801.06146), section 3.3: one more part from the last to the
        first, here after each `unfreeze_epochs`.
        """
        if self.head_only:
            return STAGES
        if self.unfreeze_epochs is None:
            return -1
        # 0.1 * 30 / 0.1 is a little less than 30: a stage would come a step late.
        left = STAGES - math.floor(epoch / self.unfreeze_epochs + 1e-9)
        return left if left > 0 else -1

    def learning_rate_scales(self) -> tuple[float, ...]:
        """Of the stem, stage 1 to 4 and the head: `layer_decay` to the power of the distance to
        the head."""
        return tuple(self.layer_decay ** (STAGES + 1 - part) for part in range(STAGES + 2))
