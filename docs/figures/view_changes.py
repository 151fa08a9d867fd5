"""Sheets of single changes of a view, of crops of one size, and of what a network is shown."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.figures.augmentation import views
from docs.figures.samples import SIDE, Image, sample, sheet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Row = list[tuple[Image, str] | None]
NAMES = ("toadstool", "melon", "cookie", "starfish", "leaf", "zebra_ball")


def drawn(trick: Any) -> Figure:
    """Two images, and five draws for each."""
    return views(replace(trick, probability=1.0) if hasattr(trick, "probability") else trick)


def done(trick: Any) -> Figure:
    """Six images above, and below what becomes of each where the operation is done."""
    always = replace(trick, probability=1.0)
    faint = [_faint(sample(name)) for name in NAMES]
    changed = [always.transform_view(image, np.random.default_rng(0)) for image in faint]
    return sheet([[(image, "") for image in row] for row in (faint, changed)])[0]


def _faint(image: Image) -> Image:
    """Of less contrast than the renderer's, so that there is something to stretch."""
    faint: Image = np.rint(40 + 0.6 * image).astype(np.uint8)
    return faint


def bits(trick: Any) -> Figure:
    """What is left of two images, by how many bits are kept."""
    return _sweep(trick, "bits", (8, 5, 4, 3, 2, 1))


def thresholds(trick: Any) -> Figure:
    """What becomes of two images, by the value from which on they are inverted."""
    return _sweep(trick, "threshold", (256, 208, 160, 128, 80, 0))


def _sweep(trick: Any, knob: str, values: tuple[int, ...]) -> Figure:
    rows: list[Row] = []
    for name in NAMES[:2]:
        image, row = sample(name), list[tuple[Image, str] | None]()
        for value in values:
            changed = replace(trick, probability=1.0, **{knob: value})
            view = changed.transform_view(image, np.random.default_rng(0))
            row.append((view, f"{knob} {value}"))
        rows.append(row)
    return sheet(rows)[0]


def flipped(trick: Any) -> Figure:
    """The four views of an image, equally likely where both probabilities are one half."""
    image = sample("toadstool")
    row: Row = [
        (image, "the image"),
        (np.ascontiguousarray(image[:, ::-1]), "left to right"),
        (np.ascontiguousarray(image[::-1]), "top to bottom"),
        (np.ascontiguousarray(image[::-1, ::-1]), "both"),
    ]
    return sheet([row])[0]


def square_crops(trick: Any) -> Figure:
    """An image, and five views that are cropped from it: from within, and reaching beyond it by up
    to a quarter of its side."""
    image = sample("toadstool", side=2 * SIDE)
    rows: list[Row] = []
    paddings = (0.0, 0.25)
    for padding in paddings:
        one = replace(trick, padding=padding)
        row: Row = [(image, "the image")]
        rows.append(row + [(_cropped(image, one, seed), "") for seed in range(5)])
    return sheet(rows, titles=[f"padding {padding:g}" for padding in paddings])[0]


def center_crops(trick: Any) -> Figure:
    """The middle of an image, by the share of its shorter side."""
    image = sample("toadstool", side=2 * SIDE)
    row: Row = [(image, "the image")]
    for fraction in (1.0, 0.875, 0.75, 0.5):
        row.append(
            (_cropped(image, replace(trick, fraction=fraction), 0), f"fraction {fraction:g}")
        )
    return sheet([row])[0]


def _cropped(image: Image, trick: Any, seed: int) -> Image:
    from classification.augmentation import Augmentation, augment

    plain = Augmentation(flip_probability=0, color=0, lighting_std=0)
    rng = np.random.default_rng(seed)
    return augment(image, size=SIDE, augmentation=plain, rng=rng, tricks=[trick])[0]


def shown_as(trick: Any) -> Figure:
    """Six images above, and below as the network is shown them."""
    images = [sample(name) for name in NAMES]
    rows: list[Row] = [[(image, "") for image in images]]
    rows.append([(_visible(trick.representation(image)), "") for image in images])
    return sheet(rows)[0]


def color_spaces(trick: Any) -> Figure:
    """An image in each of the spaces, the three channels in grey: what the network is shown as its
    red, green and blue."""
    image = sample("toadstool")
    spaces = {
        "rgb": "RGB", "hsv": "HSV", "hls": "HLS", "luv": "LUV",
        "xyz": "XYZ", "ycrcb": "Y,Cr,Cb", "lab": "LAB", "yuv": "YUV",
    }  # fmt: skip
    rows: list[Row] = []
    for first, second in zip(list(spaces)[::2], list(spaces)[1::2], strict=True):
        row: Row = []
        for space in (first, second):
            shown = image if space == "rgb" else replace(trick, space=space).representation(image)
            named = spaces[space].split(",") if "," in spaces[space] else list(spaces[space])
            row += [(_visible(shown[..., c : c + 1]), f"{space}: {named[c]}") for c in range(3)]
        rows.append(row)
    return sheet(rows)[0]


def each_alone(trick: Any) -> Figure:
    """An image in five lights above, and below what the network is shown of each: two standard
    deviations around the mean are drawn as black to white."""
    import torch

    from classification.data import normalized_alone

    image = sample("toadstool")
    gains = ((1, 1, 1), (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), (0.9, 0.7, 0.4), (0.4, 0.6, 0.9))
    lights = [np.rint(image * np.array(gain)).astype(np.uint8) for gain in gains]
    batch = torch.from_numpy(np.stack(lights)).permute(0, 3, 1, 2).float()
    seen = (normalized_alone(batch) * 63.75 + 127.5).clamp(0, 255).round()
    shown = list(seen.permute(0, 2, 3, 1).numpy().astype(np.uint8))
    return sheet([[(view, "") for view in row] for row in (lights, shown)])[0]


def with_alpha(trick: Any) -> Figure:
    """A cut-out object on a chequered ground, its colours as they are stored, and its fourth
    channel: white is opaque."""
    image = sample("toadstool")
    y, x = np.mgrid[:SIDE, :SIDE]
    distance = np.hypot(y - SIDE / 2, x - SIDE / 2)
    alpha = np.clip((0.45 * SIDE - distance) * 32, 0, 255)
    opaque = alpha[..., None] / 255
    ground = np.where((y // 8 + x // 8) % 2, 200, 240)[..., None]
    seen = np.rint(image * opaque + ground * (1 - opaque)).astype(np.uint8)
    channel = _visible(alpha.astype(np.uint8)[..., None])
    return sheet([[(seen, "the image"), (image, "colours"), (channel, "alpha")]])[0]


def _visible(view: Image) -> Image:
    return view if view.shape[2] == 3 else np.repeat(view[..., :1], 3, axis=2)
