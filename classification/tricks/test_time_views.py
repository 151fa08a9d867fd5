"""Test-time views: the final test looks at each image several times, and averages the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from classification.resampling import Interpolation, resize
from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Averaged = Literal["probabilities", "logits"]


def shorter_side(scale: float, *, size: int, resize_size: int) -> int:
    """`resize_size` times `scale`, in pixels. Raises ValueError where it is less than `size`."""
    short = round(resize_size * scale)
    if short < size:
        raise ValueError(
            f"test_time_views: scale {scale:g} makes the shorter side {short} pixels, of which "
            f"a view of {size} cannot be taken; let scales be at least "
            f"{size / resize_size:.3g}"
        )
    return short


def views(
    image: np.ndarray,
    *,
    size: int,
    resize_size: int,
    scales: Sequence[float] = (1.0,),
    crops: int = 1,
    flip: bool = False,
    interpolation: Interpolation = "bilinear",
) -> np.ndarray:
    """(H, W, C) uint8 -> (V, size, size, C), V = scales * crops * (2 where flipped).

    Of each scale the shorter side becomes `resize_size` times it, then come the central square, of
    5 crops the corners too (top left, top right, bottom left, bottom right; the ten of Krizhevsky
    et al. 2012, section 4.1, are 5 and flip), then all of them mirrored. The first view is that of
    a plain test where the first scale is 1. Raises ValueError for a scale that leaves less than
    `size`.
    """
    import numpy as np

    found = []
    for scale in scales:
        short = shorter_side(scale, size=size, resize_size=resize_size)
        height, width = image.shape[:2]
        factor = short / min(height, width)
        resized = resize(
            image,
            width=round(width * factor),
            height=round(height * factor),
            interpolation=interpolation,
        )
        down, right = resized.shape[0] - size, resized.shape[1] - size
        corners = [(0, 0), (0, right), (down, 0), (down, right)] if crops == 5 else []
        squares = [
            resized[top : top + size, left : left + size]
            for top, left in [(down // 2, right // 2), *corners]
        ]
        found += squares
        if flip:
            found += [square[:, ::-1] for square in squares]
    return np.stack(found)


def average(logits: Tensor, *, of: Averaged = "probabilities") -> Tensor:
    """(B, V, K), of V views of each image, -> probabilities (B, K).

    The mean of the softmaxes, or the softmax of the mean.
    """
    if of == "logits":
        return logits.mean(dim=1).softmax(dim=1)
    return logits.softmax(dim=2).mean(dim=1)


@dataclass(frozen=True)
class TestTimeViews(Trick):
    """flip: mirrored, too. scales: factors on the shorter side before a crop is taken; 1 is that
    of the plain test. crops: 1, the central square, or 5, the corners too (Krizhevsky's ten crops
    are 5 with flip). of: what is averaged, probabilities or logits.

    It acts in the final test alone, beside the plain one: `tta_top1` beside `tuned_top1`, and what
    each took.
    """

    flip: bool = True
    scales: Sequence[float] = (1.0,)
    crops: int = 1
    of: Averaged = "probabilities"

    name = "test_time_views"
    kind = "fine_tuning"
    stage = "finetune"
    card = Card(
        paper="Krizhevsky et al. 2012, ImageNet Classification with Deep CNNs (NeurIPS)",
        section="sections 4.1 and 6",
        equation="the mean over views of softmax(z)",
        effect="+1.5 on ILSVRC-2010 for an AlexNet by ten crops, at ten times the cost of a test",
    )

    def __post_init__(self) -> None:
        if isinstance(self.scales, str) or not isinstance(self.scales, Sequence):
            raise ValueError(f"scales is a list of factors, not {self.scales!r}")
        object.__setattr__(self, "scales", tuple(self.scales))  # a list comes from JSON
        if not self.scales or any(not 0 < scale <= 4 for scale in self.scales):
            raise ValueError(f"scales must be one factor or more in (0, 4], not {self.scales}")
        if len(set(self.scales)) < len(self.scales):
            raise ValueError(f"scales names a factor more than once: {self.scales}")
        if self.crops not in (1, 5):
            raise ValueError(f"crops must be 1 or 5 (ten crops are 5 with flip), not {self.crops}")
        if self.of not in get_args(Averaged):
            raise ValueError(f"of must be one of {', '.join(get_args(Averaged))}, not {self.of!r}")

    def check(self, *, size: int, resize_size: int) -> None:
        """Raises ValueError where a scale is too small for a view of `size`."""
        for scale in self.scales:
            shorter_side(scale, size=size, resize_size=resize_size)

    @property
    def count(self) -> int:
        """How many views of an image there are."""
        return len(self.scales) * self.crops * (2 if self.flip else 1)
