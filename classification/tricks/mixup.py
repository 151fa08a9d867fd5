"""Mixup: convex pairs of images and of their targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

MIXUP_PAPER = "Zhang et al. 2018, arXiv:1710.09412"


def mixup(images: Tensor, targets: Tensor, *, lam: float, perm: Tensor) -> tuple[Tensor, Tensor]:
    """Convex pairs of examples, eq. 8-9 of He et al. 2019 (Zhang et al., arXiv:1710.09412).

    images: (B, C, H, W); targets: (B, K) rows summing to 1; lam: scalar in [0, 1], the weight of
    the example itself; perm: (B,) integers, each example's partner (a permutation in mixup).
    """
    # In place on the copy that indexing made: one batch less to allocate.
    return images[perm].lerp_(images, lam), targets[perm].lerp_(targets, lam)


def check_alpha(alpha: float, name: str = "alpha") -> None:
    """Raises ValueError where Beta(alpha, alpha) is no distribution."""
    if not 0 < alpha < float("inf"):
        raise ValueError(f"{name} must be positive, not {alpha}")


@dataclass(frozen=True)
class Mixup(Trick):
    """alpha: lambda is drawn from Beta(alpha, alpha), once per batch."""

    alpha: float = 0.2

    name = "mixup"
    kind = "mixing"
    alternatives = "pairing"
    card = Card(
        paper=f"{BAG_OF_TRICKS} ({MIXUP_PAPER})",
        section="section 5.4, Table 6",
        equation="eq. 8-9",
        effect="+0.84 over smoothing for ResNet-50-D, with 200 epochs instead of 120",
    )

    def __post_init__(self) -> None:
        check_alpha(self.alpha)

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        import torch

        lam = float(rng.beta(self.alpha, self.alpha))
        perm = torch.from_numpy(rng.permutation(len(images)))
        return mixup(images, targets, lam=lam, perm=perm.to(images.device))
