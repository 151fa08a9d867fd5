"""Channels-last memory format."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from classification.tricks.trick import Card, Trick

if TYPE_CHECKING:
    from classification.recipe import Recipe


@dataclass(frozen=True)
class ChannelsLast(Trick):
    """Images and weights lie in memory as (B, H, W, C), as fast convolutions want them.

    The same function; rounding differs. All networks are trained so anyway, unless
    TRICKLE_REFERENCE=channels_last asks for the other layout; with this trick even then.
    """

    name = "channels_last"
    kind = "efficiency"
    card = Card(
        paper="torch's documentation, memory formats",
        section="channels last",
        effect="speed only: faster convolutions, the most in half precision; on by default",
    )

    def apply(self, recipe: Recipe) -> Recipe:
        return replace(recipe, channels_last=True)
