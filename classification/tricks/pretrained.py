"""Weights of an artifact instead of random ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from backbones.card import Card as ArtifactCard
    from classification.model import Classifier


@dataclass(frozen=True)
class Pretrained(Trick):
    """artifact: directory of an artifact of the same architecture and width.

    Its backbone is trained further under a new classifier, so its classes may be others.
    """

    artifact: str

    name = "pretrained"
    kind = "initialization"
    stage = "pretraining"
    alternatives: ClassVar[str | None] = "initialization"
    card = Card(
        paper="Yosinski et al. 2014, arXiv:1411.1792",
        section="section 4",
        effect="not reported as ImageNet top-1; transferred layers that are trained on generalize "
        "better than random ones",
        conflicts=("zero_gamma",),
    )

    def __post_init__(self) -> None:
        # A path would not be plain JSON in the recipe.
        if not isinstance(self.artifact, str) or not self.artifact:
            raise ValueError(
                f"artifact must be the directory of an artifact, as a string, not {self.artifact!r}"
            )

    def initialize(self, classifier: Classifier, *, seed: int) -> str | None:
        """Raises ValueError where the artifact is damaged, or of another architecture or width."""
        from backbones.artifact import load_backbone_state
        from backbones.card import read_card

        card, backbone = read_card(self.artifact), classifier.backbone
        found = (card.architecture, float(card.arguments["width"]))
        wanted = (backbone.architecture, float(backbone.width))
        if found != wanted:
            raise ValueError(
                f"the artifact {self.artifact} is a {found[0]} of width {found[1]:g}, not the "
                f"{wanted[0]} of width {wanted[1]:g} that is to be trained: name another artifact "
                f"or train a {found[0]}"
            )
        backbone.load_state_dict(load_backbone_state(self.artifact), strict=True)
        return _remark(self.artifact, card)


def _remark(artifact: str, card: ArtifactCard) -> str | None:
    """Training always normalizes as the paper does, whatever the weights are used to."""
    from backbones.preprocessing import IMAGENET_PAPER

    used_to = card.preprocessing
    same = all(
        getattr(used_to, field) == getattr(IMAGENET_PAPER, field)
        for field in ("mean", "std", "channel_order")
    )
    if same:
        return None
    return (
        f"pretrained: {artifact} was trained on {used_to.channel_order} images with mean "
        f"{used_to.mean} and std {used_to.std}; this training normalizes RGB images with mean "
        f"{IMAGENET_PAPER.mean} and std {IMAGENET_PAPER.std}"
    )
