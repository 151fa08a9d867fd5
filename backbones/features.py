"""What a backbone gives: channels and strides of its feature maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class FeatureSpec:
    """Channels and strides of the feature maps C2..C5, finest first.

    channels: number of channels of each level. strides: pixels of the image per cell of the
    level; a dilated network repeats one, for example (4, 8, 8, 8). Necks and heads read this
    instead of assuming 2048. Raises ValueError for levels that no backbone can have.
    """

    # Read by pydantic where a FeatureSpec is a field of a model.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own name for it

    channels: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", tuple(self.channels))
        object.__setattr__(self, "strides", tuple(self.strides))
        if not self.channels or len(self.channels) != len(self.strides):
            raise ValueError(
                f"one stride per level and at least one level: got channels={self.channels}, "
                f"strides={self.strides}"
            )
        if any(not isinstance(v, int) or v < 1 for v in self.channels + self.strides):
            raise ValueError(
                f"channels and strides are positive integers: got channels={self.channels}, "
                f"strides={self.strides}"
            )
        if list(self.strides) != sorted(self.strides):
            raise ValueError(f"levels go from fine to coarse: got strides={self.strides}")

    def select(self, indices: tuple[int, ...]) -> FeatureSpec:
        """The spec of only these levels."""
        return FeatureSpec(
            channels=tuple(self.channels[i] for i in indices),
            strides=tuple(self.strides[i] for i in indices),
        )

    def to_dict(self) -> dict[str, list[int]]:
        """As JSON holds it."""
        return {"channels": list(self.channels), "strides": list(self.strides)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> FeatureSpec:
        """The inverse of `to_dict`. Raises ValueError for missing or unexpected keys."""
        if set(data) != {"channels", "strides"}:
            raise ValueError(f"expected the keys channels and strides, got {sorted(data)}")
        return cls(channels=tuple(data["channels"]), strides=tuple(data["strides"]))
