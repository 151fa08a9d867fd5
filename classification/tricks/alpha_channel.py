"""Alpha channel: the network is shown, as a fourth channel, how opaque each pixel is."""

from __future__ import annotations

from dataclasses import dataclass

from backbones.representation import Representation
from classification.tricks.trick import Card, Trick


@dataclass(frozen=True)
class AlphaChannel(Trick):
    """Images without alpha are opaque. In training and evaluation; goes with the artifact.

    Colours stay as they are stored, also where they are transparent. The stem's fourth channel gets
    its first one's weights, and all are scaled by 3/4, as timm does; opaque is 0 after
    normalization.
    """

    name = "alpha_channel"
    kind = "augmentation"
    alternatives = "representation"
    card = Card(
        paper="Wightman 2019, PyTorch Image Models (timm)",
        section="models/_manipulate.py, adapt_input_conv",
        effect="not reported; for drawings and cut-out objects that have alpha",
        conflicts=(
            "distillation",  # a teacher sees the same images, and knows RGB alone
            # Their operations move colours and would leave alpha where it is.
            "auto_augment",
            "fast_auto_augment",
            "rand_augment",
            "trivial_augment",
            "aug_mix",
        ),
    )

    @property
    def representation(self) -> Representation:
        return Representation(kind="alpha", channels=4)
