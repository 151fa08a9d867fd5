"""How pixels become a backbone's input; carried by the artifact and used by every task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

_FIELDS = ("mean", "std", "channel_order", "interpolation")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Input = (pixel - mean) / std per channel, pixels in 0..255.

    mean, std: three numbers on the scale 0..255, always listed as red, green, blue.
    channel_order: the order in which the network takes its input's channels ("BGR" for networks
    trained on OpenCV's order). interpolation: how images are resized for it. Raises ValueError.
    """

    # Read by pydantic where a Preprocessing is a field of a model.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own name for it

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channel_order: Literal["RGB", "BGR"] = "RGB"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != 3 or not all(0 <= v <= 255 for v in values):
                raise ValueError(f"{name} is three numbers in 0..255 (R, G, B), got {values}")
            object.__setattr__(self, name, values)
        if not all(v > 0 for v in self.std):
            raise ValueError(f"std is positive, got {self.std}")
        if self.channel_order not in ("RGB", "BGR"):
            raise ValueError(f"channel_order is RGB or BGR, got {self.channel_order!r}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation is bilinear or bicubic, got {self.interpolation!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`. Raises ValueError for missing or unexpected keys."""
        if set(data) != set(_FIELDS):
            raise ValueError(f"expected the keys {', '.join(_FIELDS)}, got {sorted(data)}")
        return cls(**data)


IMAGENET_PAPER = Preprocessing(
    mean=(123.68, 116.779, 103.939),
    std=(58.393, 57.12, 57.375),
)
"""He et al. 2019 (arXiv:1812.01187), section 2.1, step 6 of the training preprocessing."""
