"""A recipe is an algebra of tricks: `standard | LargeBatch(1024) | Warmup(5)`, `mixup - Mixup`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any

from classification.augmentation import Augmentation
from classification.optimizers import SGD
from classification.schedules import Schedule, StepDecay

if TYPE_CHECKING:
    from classification.tricks.distillation import Distillation
    from classification.tricks.trick import Trick


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Everything that one pretraining does, as numbers; and the tricks that set them.

    Defaults are the baseline of He et al. 2019, section 2.1: Nesterov SGD, batch 256, 120 epochs,
    learning rate 0.1 divided by 10 at epochs 30, 60 and 90. Epochs and batch sizes are those of
    ImageNet; a benchmark scales them by its own budget.
    """

    optimizer: SGD = SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    batch_size: int = 256
    epochs: float = 120
    schedule: Schedule = StepDecay(milestones=(30, 60, 90))
    warmup_epochs: float = 0
    augmentation: Augmentation = Augmentation()
    half_precision: bool = False
    tricks: tuple[Trick, ...] = ()
    origin: Recipe | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.epochs <= 0:
            raise ValueError(f"epochs must be positive, not {self.epochs}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warmup_epochs must lie in [0, epochs), not {self.warmup_epochs} of {self.epochs}"
            )

    def __or__(self, trick: Trick) -> Recipe:
        """The recipe with one more trick. Raises ValueError where two tricks conflict."""
        for present in self.tricks:
            if present.name == trick.name:
                raise ValueError(f"{trick.name} is in the recipe already: {present}")
            if present.name in trick.card.conflicts or trick.name in present.card.conflicts:
                raise ValueError(f"{trick.name} conflicts with {present.name}: use one of the two")
        applied = trick.apply(self)
        origin = self if self.origin is None else self.origin
        return replace(applied, tricks=(*self.tricks, trick), origin=origin)

    def __sub__(self, trick: type[Trick]) -> Recipe:
        """The recipe without a trick, the others applied anew in their order."""
        if trick.name not in {present.name for present in self.tricks}:
            raise ValueError(f"the recipe has no {trick.name} to take away: {self.trick_names}")
        recipe = self.origin
        assert recipe is not None, "a recipe with tricks knows its origin"
        for present in self.tricks:
            if present.name != trick.name:
                recipe = recipe | present
        return recipe

    @property
    def trick_names(self) -> tuple[str, ...]:
        return tuple(trick.name for trick in self.tricks)

    @property
    def distillation(self) -> Distillation | None:
        """The distillation trick of the recipe, or None where it has no teacher."""
        found = [trick for trick in self.tricks if trick.name == "distillation"]
        return found[0] if found else None  # type: ignore[return-value]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; tricks sorted by name, since the order of adding them says nothing."""
        numbers = {
            item.name: _plain(getattr(self, item.name))
            for item in fields(self)
            if item.name not in ("tricks", "origin")
        }
        tricks = {trick.name: asdict(trick) for trick in sorted(self.tricks, key=lambda t: t.name)}
        return {**numbers, "tricks": tricks}

    def digest(self) -> str:
        """sha256 of the recipe's canonical JSON: equal recipes have equal digests."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **asdict(value)}
    return value
