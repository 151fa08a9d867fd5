"""Thinner and wider networks: one factor on all channel counts."""

from __future__ import annotations


def scale_channels(channels: int, width: float) -> int:
    """`channels * width`, rounded to the nearest multiple of 8 (at least 8), halves upwards."""
    return max(8, int(channels * width / 8 + 0.5) * 8)


def check_width(width: float) -> None:
    """Raises ValueError for a factor that is not above 0 and at most 8."""
    if not 0 < width <= 8:
        raise ValueError(f"width is a factor above 0 and at most 8, got {width!r}")
