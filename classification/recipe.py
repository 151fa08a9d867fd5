"""A recipe is an algebra of tricks: `standard | LargeBatch(1024) | Warmup(5)`, `mixup - Mixup`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from classification.augmentation import Augmentation
from classification.optimizers import SGD, Optimizer
from classification.tricks.schedule import Schedule
from classification.tricks.step_decay import StepDecay
from classification.tuning import Tuning

if TYPE_CHECKING:
    from backbones.representation import Representation
    from classification.tricks.distillation import Distillation
    from classification.tricks.trick import Trick

_UNPRINTED = ("tricks", "origin")
_WORDS = {
    "loss": ("cross_entropy", "binary_cross_entropy"),
    "precision": ("float32", "half", "float16", "bfloat16"),
}
_POSITIVE = (
    "train_size_scale",
    "evaluation_crop",
    "gradient_clip",
    "ema_decay",
    "early_stopping",
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recipe:
    """Everything that one pretraining does, as numbers; and the tricks that set them.

    Defaults are the baseline of He et al. 2019, section 2.1: Nesterov SGD, batch 256, 120 epochs,
    learning rate 0.1 divided by 10 at epochs 30, 60 and 90. Epochs and batch sizes are those of
    ImageNet; a benchmark scales them by its own budget.

    batch_size: images per optimizer step, in `accumulation` parts. epochs: without the cooldown,
    in which the rate stays where the schedule ended. warmup_start: share of the base rate at step
    0. repeats: augmented views of one image that follow each other. train_size_scale: side of the
    training images, of the evaluation's. evaluation_crop: share of the resized side that is
    evaluated; None: the benchmark's. precision: "half" is the half format that pays on the machine
    at hand. loss_threshold: targets above it count as 1, for binary cross-entropy. gradient_clip:
    largest L2 norm. early_stopping: epochs without a better top-1 after which training ends.
    tuning: of fine-tuning alone.
    """

    optimizer: Optimizer = SGD(learning_rate=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    batch_size: int = 256
    accumulation: int = 1
    epochs: float = 120
    schedule: Schedule = StepDecay((30, 60, 90))
    warmup_epochs: float = 0
    warmup_start: float = 0.0
    cooldown_epochs: float = 0
    augmentation: Augmentation = Augmentation()
    repeats: int = 1
    train_size_scale: float = 1.0
    evaluation_crop: float | None = None
    precision: Literal["float32", "half", "float16", "bfloat16"] = "float32"
    loss_scale: float | Literal["dynamic"] = "dynamic"
    channels_last: bool = False
    compile: bool = False
    loss: Literal["cross_entropy", "binary_cross_entropy"] = "cross_entropy"
    loss_threshold: float | None = None
    gradient_clip: float | None = None
    dropout: float = 0.0
    ema_decay: float | None = None
    early_stopping: float | None = None
    tuning: Tuning = Tuning()
    tricks: tuple[Trick, ...] = ()
    origin: Recipe | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {self.batch_size}")
        if self.epochs <= 0:
            raise ValueError(f"epochs must be positive, not {self.epochs}")
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise ValueError(
                    f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
                )
        for name in ("accumulation", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in _POSITIVE:
            if (value := getattr(self, name)) is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"the warmup must be shorter than the training: warmup_epochs must lie in "
                f"[0, epochs), not {self.warmup_epochs} of {self.epochs}"
            )

    def __or__(self, trick: Trick) -> Recipe:
        """The recipe with one more trick. Raises ValueError where two tricks conflict."""
        for present in self.tricks:
            _check_conflict(present, trick)
        applied = trick.apply(self)
        origin = self if self.origin is None else self.origin
        return replace(applied, tricks=(*self.tricks, trick), origin=origin)

    def __sub__(self, trick: type[Trick]) -> Recipe:
        """The recipe without a trick, the others applied anew in their order.

        Raises ValueError for a trick that is not there, and for a recipe with numbers that none of
        its tricks has set (by dataclasses.replace): applied anew they would be lost.
        """
        return self.only([name for name in self.trick_names if name != self._present(trick.name)])

    def only(self, names: Collection[str]) -> Recipe:
        """The recipe with these of its tricks alone, applied anew in their order.

        Raises ValueError as `-` does, and where what is left contradicts itself.
        """
        wanted = {self._present(name) for name in names}
        again, left = self.base, self.base
        for present in self.tricks:
            again = again | present
            if present.name in wanted:
                left = left | present
        if again.numbers() != self.numbers():
            gone = ", ".join(name for name in self.trick_names if name not in wanted)
            raise ValueError(
                f"{gone} cannot be taken away: the recipe has numbers that its tricks did "
                "not set; change them before the first trick, or by a trick"
            )
        return left

    def _present(self, name: str) -> str:
        if name not in self.trick_names:
            raise ValueError(
                f"the recipe has no {name} to take away; it has "
                f"{', '.join(self.trick_names) or 'no trick'}"
            )
        return name

    @property
    def base(self) -> Recipe:
        """The recipe before its first trick."""
        return self if self.origin is None else self.origin

    @property
    def trick_names(self) -> tuple[str, ...]:
        """In the order in which they were added."""
        return tuple(trick.name for trick in self.tricks)

    @property
    def acting(self) -> tuple[Trick, ...]:
        """The tricks in the order in which they act, which the order of adding says nothing of."""
        return tuple(sorted(self.tricks, key=lambda trick: (trick.turn, trick.name)))

    @property
    def distillation(self) -> Distillation | None:
        """The distillation trick of the recipe, or None where it has no teacher."""
        found = [trick for trick in self.tricks if trick.name == "distillation"]
        return found[0] if found else None  # type: ignore[return-value]

    @property
    def representation(self) -> Representation | None:
        """What images are shown to the network as; None: red, green and blue."""
        return next((t.representation for t in self.tricks if t.representation is not None), None)

    @property
    def total_epochs(self) -> float:
        return self.epochs + self.cooldown_epochs

    def numbers(self) -> dict[str, Any]:
        """Every number by its name, as plain JSON, without the tricks, and without `tuning` where
        nothing is tuned: records of a pretraining do not speak of it."""
        unsaid = ("tuning",) if self.tuning == Tuning() else ()
        names = [item.name for item in fields(self) if item.name not in (*_UNPRINTED, *unsaid)]
        return {name: _plain(getattr(self, name)) for name in names}

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; tricks sorted by name, since the order of adding them says nothing."""
        return {
            **self.numbers(),
            "tricks": {trick.name: trick.to_dict() for trick in self.acting},
        }

    def canonical(self) -> dict[str, Any]:
        """`to_dict` with 5.0 written as 5: one form for all ways of saying the same."""
        canonical: dict[str, Any] = _canonical(self.to_dict())
        return canonical

    def digest(self) -> str:
        """sha256 of the recipe's canonical JSON: equal recipes have equal digests."""
        text = json.dumps(self.canonical(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recipe) and self.digest() == other.digest()

    def __hash__(self) -> int:
        return hash(self.digest())


def _check_conflict(present: Trick, added: Trick) -> None:
    if present.name == added.name:
        raise ValueError(f"{added.name} twice in one recipe: {present} and {added}")
    one_of_a_kind = present.alternatives is not None and present.alternatives == added.alternatives
    if one_of_a_kind:
        raise ValueError(
            f"{added.name} conflicts with {present.name}: a recipe has one {added.alternatives}; "
            f"take the other away first (-{present.name})"
        )
    if present.name in added.card.conflicts or added.name in present.card.conflicts:
        raise ValueError(f"{added.name} conflicts with {present.name}: use one of the two")


def _canonical(value: Any) -> Any:
    """5.0 as 5: a knob's value says the same either way."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, Tuning):
        return value.to_dict()
    if isinstance(value, Schedule):
        return {"type": type(value).__name__, **value.to_dict()}
    if is_dataclass(value) and not isinstance(value, type):
        return {"type": type(value).__name__, **asdict(value)}
    return value
