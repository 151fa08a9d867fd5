"""How pixels become a backbone's input; carried by the artifact and used by every task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from backbones.representation import Representation

_FIELDS = ("mean", "std", "channel_order", "interpolation")


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """Input = (pixel - mean) / std per channel, pixels in 0..255.

    mean, std: three numbers on the scale 0..255, always listed as red, green, blue.
    channel_order: the order in which the network takes its input's channels ("BGR" for networks
    trained on OpenCV's order). interpolation: how images are resized for it. representation: what
    the resized pixels become before that, of whose channels mean and std are then; None for RGB.
    Raises ValueError.
    """

    # Read by pydantic where a Preprocessing is a field of a model.
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 - pydantic's own name for it

    mean: tuple[float, ...]
    std: tuple[float, ...]
    channel_order: Literal["RGB", "BGR"] = "RGB"
    interpolation: Literal["bilinear", "bicubic"] = "bilinear"
    representation: Representation | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, name))
            if len(values) != self.channels or not all(0 <= v <= 255 for v in values):
                count = "three" if self.channels == 3 else str(self.channels)
                named = " (R, G, B)" if self.representation is None else ""
                raise ValueError(f"{name} is {count} numbers in 0..255{named}, got {values}")
            object.__setattr__(self, name, values)
        if not all(v > 0 for v in self.std):
            raise ValueError(f"std is positive, got {self.std}")
        if self.channel_order not in ("RGB", "BGR"):
            raise ValueError(f"channel_order is RGB or BGR, got {self.channel_order!r}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation is bilinear or bicubic, got {self.interpolation!r}")

    @property
    def channels(self) -> int:
        """Of the network's input."""
        return 3 if self.representation is None else self.representation.channels

    def represented(self, representation: Representation | None) -> Preprocessing:
        """The same with its images shown as `representation`; itself where that is None.

        Raises ValueError where the images are represented otherwise already, and for alpha beside
        channels in BGR.
        """
        if representation is None or representation == self.representation:
            return self
        if self.representation is not None:
            raise ValueError(
                f"the weights are used to images represented as {self.representation.kind}, not as "
                f"{representation.kind}: leave that trick out, or start from weights for RGB images"
            )
        if self.channel_order == "BGR" and representation.kind == "alpha":
            raise ValueError(
                "an alpha channel needs weights that take red, green, blue; these take BGR"
            )
        colors_stay = representation.kind in ("normalized", "ben_graham")
        mean, std = representation.mean_and_std(self.mean, self.std)
        return replace(
            self,
            mean=mean,
            std=std,
            channel_order=self.channel_order if colors_stay else "RGB",
            representation=representation,
        )

    def check_rgb(self, what: str) -> None:
        """Raises ValueError where the images are not plain RGB. what: that takes nothing else."""
        if self.representation is not None:
            raise ValueError(
                f"{what} takes plain RGB images, and this artifact's are represented as "
                f"{self.representation.kind}: take one trained without that trick"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON holds it; without a representation where there is none."""
        known = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}
        del known["representation"]
        if self.representation is not None:
            known["representation"] = self.representation.to_dict()
        return known

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Preprocessing:
        """The inverse of `to_dict`. Raises ValueError for missing or unexpected keys."""
        shown = data.get("representation")
        rest = {key: value for key, value in data.items() if key != "representation"}
        if set(rest) != set(_FIELDS):
            raise ValueError(f"expected the keys {', '.join(_FIELDS)}, got {sorted(data)}")
        representation = None if shown is None else Representation.from_dict(shown)
        return cls(**rest, representation=representation)


IMAGENET_PAPER = Preprocessing(
    mean=(123.68, 116.779, 103.939),
    std=(58.393, 57.12, 57.375),
)
"""He et al. 2019 (arXiv:1812.01187), section 2.1, step 6 of the training preprocessing."""
