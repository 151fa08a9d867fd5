"""Xavier initialization."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    from classification.model import Classifier


@dataclass(frozen=True)
class XavierInitialization(Trick):
    """Weights of convolutions and linear layers from U(-a, a), a = sqrt(6 / (d_in + d_out)).

    Biases 0, gamma 1, beta 0. Our own networks start so anyway; those of timm and torchvision
    otherwise keep their own. Embeddings and layer normalizations stay as they are.
    """

    name = "xavier_initialization"
    kind = "initialization"
    stage = "pretraining"
    alternatives: ClassVar[str | None] = "initialization"
    card = Card(
        paper=f"Glorot and Bengio 2010 ({BAG_OF_TRICKS}, section 2.1)",
        section="section 4.2",
        equation="eq. 16",
        effect="the baseline",
    )

    def initialize(self, classifier: Classifier, *, seed: int) -> str | None:
        from backbones.initialization import initialize

        initialize(classifier, seed=seed)
        return None
