"""Boxes and masks drawn onto the kept pictures of sample images."""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
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
_PAPER, _INK = (255, 255, 255), (25, 25, 25)
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
    pixels[known] = 0.35 * pixels[known] + 0.65 * colors[labels[known]]
    pixels[_outlines(labels)] = 255
    drawn = Image.fromarray(pixels.round().astype(np.uint8))
    pen = Draw(drawn)
    for label in np.unique(labels[known]).tolist():
        if (place := _middle(labels == label)) is not None:
            _write(pen, place, names[label], class_color(label), picture.size)
    return _jpeg(drawn)


def draw_legend(labels: Sequence[int], names: Sequence[str]) -> bytes:
    """A PNG, SIDE wide: each label's color and name, a line each."""
    from PIL import Image, ImageFont
    from PIL.ImageDraw import Draw

    height = 32
    drawn = Image.new("RGB", (SIDE, len(labels) * height + 8), _PAPER)
    pen, font = Draw(drawn), ImageFont.load_default(22)
    for place, label in enumerate(labels):
        y = place * height + 8
        pen.rectangle((8, y, 40, y + height - 8), fill=class_color(label), outline=_INK)
        pen.text((52, y - 2), _word(names[label]), fill=_INK, font=font)
    written = io.BytesIO()
    drawn.save(written, format="PNG", optimize=True)
    return written.getvalue()


def class_color(label: int) -> tuple[int, int, int]:
    """One of 256, the first of which are farthest apart."""
    red, green, blue = _colors()[label % 256]
    return red, green, blue


@lru_cache(maxsize=1)
def _colors() -> list[list[int]]:
    """Each as far as can be, in CIELAB, from all before it, from black and from white: the palettes
    of Glasbey et al. (Color Research and Application 32, 2007)."""
    import cv2

    levels = np.linspace(0, 255, 11).round().astype(int)
    choices = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lab = cv2.cvtColor(choices[None].astype(np.float32) / 255, cv2.COLOR_RGB2Lab)[0]
    seen = (lab[:, 0] > 32) & (lab[:, 0] < 93)  # neither lost in shadows nor in the sky
    choices, lab = choices[seen], lab[seen]
    far = np.minimum(*(np.linalg.norm(lab - [light, 0, 0], axis=1) for light in (0, 100)))
    found = []
    for _ in range(256):
        found.append(int(far.argmax()))
        far = np.minimum(far, np.linalg.norm(lab - lab[found[-1]], axis=1))
    chosen: list[list[int]] = choices[found].tolist()
    return chosen


def _outlines(labels: np.ndarray) -> np.ndarray:
    """(h, w) bool: pixels beside one of another label, which part regions of like colors."""
    beside = np.zeros(labels.shape, bool)
    beside[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    beside[1:] |= labels[1:] != labels[:-1]
    return beside


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
    text = _word(text)
    _, _, right, bottom = pen.textbbox((0, 0), text)
    x = min(max(0.0, place[0]), max(0.0, size[0] - right - 3.0))
    y = min(max(0.0, place[1]), max(0.0, size[1] - bottom - 3.0))
    pen.rectangle((x, y, x + right + 2, y + bottom + 2), fill=color)
    light = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
    pen.text((x + 1, y), text, fill=(0, 0, 0) if light else (255, 255, 255))


def _word(text: str) -> str:
    """What fits, and what the font has."""
    text = in_one_line(text)
    text = text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."
    return text.encode("latin-1", "replace").decode("latin-1")


def _jpeg(image: Image) -> bytes:
    written = io.BytesIO()
    image.save(written, format="JPEG", quality=_QUALITY, subsampling=0)  # thin lines keep theirs
    return written.getvalue()
