from __future__ import annotations

from typing import Any

import pytest

from backbones.preprocessing import IMAGENET_PAPER, Preprocessing


def test_the_papers_constants() -> None:
    """Section 2.1: subtract 123.68, 116.779, 103.939 and divide by 58.393, 57.12, 57.375."""
    assert IMAGENET_PAPER.to_dict() == {
        "mean": [123.68, 116.779, 103.939],
        "std": [58.393, 57.12, 57.375],
        "channel_order": "RGB",
        "interpolation": "bilinear",
    }


def test_round_trip() -> None:
    half = (127.5, 127.5, 127.5)
    preprocessing = Preprocessing(mean=half, std=half, channel_order="BGR", interpolation="bicubic")
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"mean": (1.0, 2.0)}, "mean"),
        ({"mean": (300.0, 0.0, 0.0)}, "0..255"),
        ({"std": (0.0, 1.0, 1.0)}, "positive"),
        ({"channel_order": "GBR"}, "RGB or BGR"),
        ({"interpolation": "nearest"}, "bilinear or bicubic"),
    ],
)
def test_nonsense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocessing.from_dict({**IMAGENET_PAPER.to_dict(), **change})


def test_other_keys_are_refused() -> None:
    with pytest.raises(ValueError, match="expected the keys"):
        Preprocessing.from_dict({**IMAGENET_PAPER.to_dict(), "crop": 224})
