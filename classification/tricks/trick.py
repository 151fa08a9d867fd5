"""What a trick is: knobs, a card, and the places at which it may act."""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from backbones.representation import Representation
    from classification.model import Classifier, Outputs
    from classification.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class Card:
    """Where a trick comes from and what to expect of it.

    effect: what the source reports, ImageNet top-1 in percent points unless it says otherwise.
    conflicts: names of tricks that cannot stand in one recipe with this one.
    """

    paper: str
    section: str
    equation: str | None = None
    effect: str
    conflicts: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        return ", ".join(part for part in (self.paper, self.section, self.equation) if part)


BAG_OF_TRICKS = "He et al. 2019, arXiv:1812.01187"


@dataclass(frozen=True)
class Trick:
    """One trick: a frozen dataclass of its knobs. All methods do nothing unless overridden.

    kind: the chapter of the trick's page. stage: where it may stand, by default in pretraining as
    in fine-tuning. alternatives: of the tricks that bear the same word
    there is one in a recipe ("schedule", "pairing", ...). turn: where several tricks act at one
    place, the lower turn acts first, then the order of their names decides, and never the order in
    which they were added. moves_pixels: `transform_view` takes images of any number of channels,
    since what it does to a place it does to all of them; other tricks get the colours alone.
    representation: what images are shown to the network as, in training as in evaluation.
    source_digest: of the file of a trick that is the user's own.
    """

    name: ClassVar[str]
    card: ClassVar[Card]
    kind: ClassVar[str]
    stage: ClassVar[Literal["any", "pretraining", "finetune"]] = "any"
    alternatives: ClassVar[str | None] = None
    turn: ClassVar[int] = 0
    moves_pixels: ClassVar[bool] = False
    source_digest: ClassVar[str | None] = None

    @classmethod
    def knobs(cls) -> dict[str, Any]:
        """The knobs and their defaults; "required" where there is none."""
        return {
            knob.name: "required" if knob.default is MISSING else knob.default
            for knob in fields(cls)
        }

    def to_dict(self) -> dict[str, Any]:
        """The knobs as plain JSON; and for a trick of the user's the digest of its code."""
        digest = self.source_digest
        return {**asdict(self), **({} if digest is None else {"source_digest": digest})}

    def apply(self, recipe: Recipe) -> Recipe:
        """The recipe with the numbers that this trick changes."""
        return recipe

    def initialize(self, classifier: Classifier, *, seed: int) -> str | None:
        """Changes the untrained classifier in place; says so where this one has nothing to change.

        The sentence that comes back is shown to the user and recorded on the artifact's card.
        """
        return None

    def decays(self, parameter: nn.Parameter) -> bool:
        """Whether weight decay acts on a parameter."""
        return True

    def transform_label(self, label: int, num_classes: int, rng: np.random.Generator) -> int:
        """Of a training image; rng follows from the run's seed and the image, not the epoch."""
        return label

    @property
    def representation(self) -> Representation | None:
        """None: red, green and blue."""
        return None

    def crop_box(
        self, rng: np.random.Generator, *, height: int, width: int
    ) -> tuple[int, int, int, int] | None:
        """(top, left, height, width) of what a view is made of; None for the baseline's crop.

        height, width: of the image, in pixels. What lies outside of it shows its reflection.
        """
        return None

    def transform_view(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(S, S, 3) RGB uint8 -> the same, after the random crop and flip, before colour noise."""
        return view

    def transform_targets(self, targets: Tensor) -> Tensor:
        """targets: (B, K) rows summing to 1; so is the result."""
        return targets

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """images: (B, C, H, W) normalized; targets: (B, K). After all `transform_targets`."""
        return images, targets

    def forward(
        self, classifier: Classifier, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Outputs, Tensor] | None:
        """In place of `classifier(images)`, with the targets of what was mixed on the way."""
        return None

    def penalty(self, classifier: Classifier) -> Tensor | None:
        """A scalar that is added to the loss."""
        return None


KINDS = (
    "efficiency",
    "schedule",
    "targets",
    "mixing",
    "augmentation",
    "optimizer",
    "regularization",
    "initialization",
    "fine_tuning",
)
"""The chapters, in the order in which they are shown."""
