"""What tricks ask of a probability."""

from __future__ import annotations


def check_probability(probability: float) -> None:
    """Raises ValueError."""
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must lie in [0, 1], not {probability}")
