"""Mixup of an example with one of its nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from classification.tricks.mixup import MIXUP_PAPER, check_alpha, mixup
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

# Images are compared as thumbnails of this side in pixels: what matters is where which colours
# are, and a batch is compared in a thousandth of a training step.
THUMBNAIL = 8


def pixel_distances(images: Tensor) -> Tensor:
    """Euclidean distances (B, B) between the thumbnails of images (B, C, H, W)."""
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    pixels = adaptive_avg_pool2d(images.float(), THUMBNAIL).flatten(1)
    # The faster way of cdist subtracts large numbers: an image could be far from its own copy.
    return torch.cdist(pixels, pixels, compute_mode="donot_use_mm_for_euclid_dist")


def draw_neighbors(distances: Tensor, *, neighbors: int, draws: Tensor) -> Tensor:
    """Of each example one of its nearest others: partners (B,).

    distances: (B, B), infinite where two may not be paired (an example with itself); draws: (B,)
    float64 in [0, 1), choosing among the `neighbors` nearest. Who has no neighbour is its own
    partner.
    """
    import torch

    order = distances.argsort(dim=1, stable=True)
    available = distances.isfinite().sum(dim=1).clamp(max=neighbors)
    chosen = (draws * available).long()
    partners = order.gather(1, chosen[:, None])[:, 0]
    themselves = torch.arange(len(distances), device=distances.device)
    return torch.where(available > 0, partners, themselves)


@dataclass(frozen=True)
class NearestNeighborMixup(Trick):
    """alpha: lambda is drawn from Beta(alpha, alpha), once per batch.

    neighbors: each example's partner is one of so many nearest in the batch, in pixels. The paper
    takes 200 of the whole training set (50,000 images); the nearest in a batch of 128 is about the
    400th nearest there, so that 1 is the closest to it. same_class: neighbours of the same class
    alone. mix_targets: with False the target is that of the heavier image. The two give the other
    rows of the paper's table.
    """

    alpha: float = 1.0
    neighbors: int = 1
    same_class: bool = False
    mix_targets: bool = True

    name = "nearest_neighbor_mixup"
    kind = "mixing"
    alternatives = "pairing"
    card = Card(
        paper=MIXUP_PAPER,
        section="section 3.8, Table 5, rows KNN",
        effect="CIFAR-10, PreAct ResNet-18, test error: 4.98 against 4.24 of mixup and 5.53 "
        "without (weight decay 1e-4)",
    )

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        if self.neighbors < 1:
            raise ValueError(f"neighbors must be at least 1, not {self.neighbors}")

    def transform_batch(
        self, images: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        import torch

        lam = float(rng.beta(self.alpha, self.alpha))
        draws = torch.from_numpy(rng.random(len(images))).to(images.device)
        distances = pixel_distances(images).fill_diagonal_(float("inf"))
        if self.same_class:
            classes = targets.argmax(dim=1)
            distances[classes[:, None] != classes] = float("inf")
        partners = draw_neighbors(distances, neighbors=self.neighbors, draws=draws)
        mixed, mixed_targets = mixup(images, targets, lam=lam, perm=partners)
        if self.mix_targets:
            return mixed, mixed_targets
        return mixed, targets if lam >= 0.5 else targets[partners]
