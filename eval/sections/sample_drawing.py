"""Boxes and masks drawn onto the kept pictures of sample images."""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eval.text import in_one_line

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

SIDE = 320
"""The longest, in pixels, of what is drawn."""
_LARGEST = 4096
_LONGEST_NAME = 18
_QUALITY = 80


def read_picture(data: bytes) -> Image:
    """A kept JPEG, its longest side SIDE. Raises ValueError where it is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            if max(image.size) > _LARGEST:
                raise ValueError(f"a picture of {image.width}x{image.height} pixels is too large")
            scale = SIDE / max(image.size)
            width, height = (max(1, round(scale * side)) for side in image.size)
            return image.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"a picture of the evidence cannot be decoded: {error}") from error


def draw_boxes(
    picture: Image, boxes: np.ndarray, labels: Sequence[int], texts: Sequence[str]
) -> bytes:
    """A JPEG. boxes: (n, 4) x1, y1, x2, y2 in pixels of the picture; texts: one for each."""
    from PIL.ImageDraw import Draw

    drawn = picture.copy()
    pen = Draw(drawn)
    for box, label, text in zip(boxes.tolist(), labels, texts, strict=True):
        x1, y1, x2, y2 = (min(max(side, -SIDE), 2 * SIDE) for side in box)
        color = class_color(label)
        pen.rectangle((x1, y1, max(x1, x2), max(y1, y2)), outline=color, width=2)
        _write(pen, (x1 + 2, y1 + 1), text, color, picture.size)
    return _jpeg(drawn)


def draw_mask(picture: Image, mask: np.ndarray, names: Sequence[str]) -> bytes:
    """A JPEG. mask: (h, w) class numbers, in proportion to the picture; what is beyond the names is
    left as it is in the picture."""
    from PIL import Image
    from PIL.ImageDraw import Draw

    colors = np.array([class_color(label) for label in range(len(names))], np.float32)
    labels = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    pixels, known = np.asarray(picture, np.float32).copy(), labels < len(names)
    pixels[known] = 0.45 * pixels[known] + 0.55 * colors[labels[known]]
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    pen = Draw(drawn)
    for label in np.unique(labels[known]).tolist():
        if (place := _middle(labels == label)) is not None:
            _write(pen, place, names[label], class_color(label), picture.size)
    return _jpeg(drawn)


def class_color(label: int) -> tuple[int, int, int]:
    """Neighbours in number are far apart in color."""
    hue = (0.58 + label * 0.618034) % 1
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85 - 0.3 * (label // 8 % 2), 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def _middle(region: np.ndarray) -> tuple[float, float] | None:
    """Where a region is broadest, (x, y); None where it is too small for a word."""
    import cv2

    depth = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return (float(x) - 16, float(y) - 6) if depth[y, x] >= 8 else None


def _write(
    pen: ImageDraw,
    place: tuple[float, float],
    text: str,
    color: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    text = in_one_line(text)
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
    text = text.encode("latin-1", "replace").decode("latin-1")  # what the font has
    _, _, right, bottom = pen.textbbox((0, 0), text)
    x = min(max(0.0, place[0]), max(0.0, size[0] - right - 3.0))
    y = min(max(0.0, place[1]), max(0.0, size[1] - bottom - 3.0))
    pen.rectangle((x, y, x + right + 2, y + bottom + 2), fill=color)
    light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    pen.text((x + 1, y), text, fill=(0, 0, 0) if light else (255, 255, 255))


def _jpeg(image: Image) -> bytes:
    written = io.BytesIO()
    image.save(written, format="JPEG", quality=_QUALITY)
    return written.getvalue()
