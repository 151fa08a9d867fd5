"""PCA lighting: noise along the principal components of ImageNet's colours."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

from classification.tricks.trick import BAG_OF_TRICKS, Card, Trick

if TYPE_CHECKING:
    import numpy as np

    from classification.recipe import Recipe

# Principal components of ImageNet's RGB values in 0..255: Krizhevsky et al. 2012, section 4.1,
# with the values that all public reimplementations share.
PCA_EIGENVALUES = (55.46, 4.794, 1.148)
PCA_EIGENVECTORS = (
    (-0.5675, 0.7192, 0.4009),
    (-0.5808, -0.0045, -0.8140),
    (-0.5836, -0.6948, 0.4203),
)


def pca_lighting(coefficients: np.ndarray) -> np.ndarray:
    """RGB offset (3,) in 0..255 along ImageNet's principal components, one coefficient each."""
    import numpy as np

    vectors, values = _components()
    offset: np.ndarray = vectors @ (np.asarray(coefficients, np.float32) * values)
    return offset


@cache
def _components() -> tuple[np.ndarray, np.ndarray]:
    import numpy as np

    return np.array(PCA_EIGENVECTORS, np.float32), np.array(PCA_EIGENVALUES, np.float32)


@dataclass(frozen=True)
class PCALighting(Trick):
    """std: standard deviation of the three normal coefficients; 0 switches the trick off."""

    std: float = 0.1

    name = "pca_lighting"
    kind = "augmentation"
    card = Card(
        paper=f"{BAG_OF_TRICKS} (Krizhevsky et al. 2012)",
        section="section 2.1, step 5",
        equation="[p1, p2, p3] [a1 l1, a2 l2, a3 l3], a ~ N(0, std)",
        effect="part of the baseline; Krizhevsky et al. report over 1 for AlexNet",
    )

    def __post_init__(self) -> None:
        if not 0 <= self.std < float("inf"):
            raise ValueError(f"std must be a number of at least 0, not {self.std}")

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, augmentation=replace(recipe.augmentation, lighting_std=self.std))
