"""The layouts that a segmentation may have its data in."""

from __future__ import annotations

from benchmarks import ade20k_layout, cityscapes_layout
from benchmarks.labelled_pixels import PixelLayout


def pixel_layout(name: str) -> PixelLayout:
    """The module that lists and understands such data; name: a budget's `layout`."""
    layouts: dict[str, PixelLayout] = {"ade20k": ade20k_layout, "cityscapes": cityscapes_layout}
    return layouts[name]
