"""Sheets of augmented views, and where crops lie."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.figures.samples import SIDE, Image, batch, sample, sheet, shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VIEWS = 5


def _row(trick: Any, image: Image, first_seed: int = 0) -> list[tuple[Image, str] | None]:
    views = (trick.transform_view(image, np.random.default_rng(first_seed + s)) for s in range(5))
    return [(image, "the image"), *((view, "") for view in views)]


def views(trick: Any) -> Figure:
    """Two images, and five draws for each."""
    return sheet([_row(trick, sample("toadstool")), _row(trick, sample("melon"), 20)])[0]


def rand_augment_views(trick: Any) -> Figure:
    """Five draws at three magnitudes, each operation done (probability 1)."""
    image = sample("toadstool")
    magnitudes = (3, 6, 10)
    rows = [_row(replace(trick, magnitude=m, probability=1.0), image) for m in magnitudes]
    return sheet(rows, titles=[f"magnitude {m}" for m in magnitudes])[0]


def aug_mix_views(trick: Any) -> Figure:
    """Five draws at three severities."""
    image = sample("toadstool")
    severities = (1, 3, 10)
    rows = [_row(replace(trick, severity=s), image) for s in severities]
    return sheet(rows, titles=[f"severity {s}" for s in severities])[0]


def color_views(trick: Any) -> Figure:
    """Above, each factor alone at both ends of its range; below, five draws of the factors of hue,
    saturation and brightness."""
    from classification.tricks.color_scaling import scale_colors

    image = sample("toadstool")
    low, high = 1 - trick.amount, 1 + trick.amount
    knobs = ("hue", "saturation", "brightness")
    ends: list[tuple[Image, str] | None] = []
    for knob in knobs:
        for factor in (low, high):
            factors = {name: factor if name == knob else 1.0 for name in knobs}
            ends.append((scale_colors(image, **factors), f"{knob} × {factor:g}"))
    drawn: list[tuple[Image, str] | None] = [(image, "the image")]
    for seed in range(VIEWS):
        h, s, b = np.random.default_rng(seed).uniform(low, high, size=3)
        view = scale_colors(image, hue=h, saturation=s, brightness=b)
        drawn.append((view, f"{h:.2f}, {s:.2f}, {b:.2f}"))
    return sheet([ends, drawn])[0]


def lighting_views(trick: Any) -> Figure:
    """The first principal component is brightness, the two others are colour. Above: one
    coefficient at 3 standard deviations and the offset of red, green and blue in 0..255; below:
    five draws."""
    from classification.tricks.pca_lighting import pca_lighting

    image = sample("toadstool")

    def lit(coefficients: Any) -> Image:
        moved = image + pca_lighting(np.asarray(coefficients))
        rounded: Image = np.clip(np.rint(moved), 0, 255).astype(np.uint8)
        return rounded

    ends: list[tuple[Image, str] | None] = []
    for component in range(3):
        for sign in (-1, 1):
            coefficients = np.zeros(3)
            coefficients[component] = sign * 3 * trick.std
            r, g, b = pca_lighting(coefficients)
            text = f"a{component + 1} = {sign * 3 * trick.std:+.1f}\n{r:+.1f} {g:+.1f} {b:+.1f}"
            ends.append((lit(coefficients), text))
    drawn: list[tuple[Image, str] | None] = [(image, "the image")]
    for seed in range(VIEWS):
        coefficients = np.random.default_rng(seed).normal(0, trick.std, size=3)
        r, g, b = pca_lighting(coefficients)
        drawn.append((lit(coefficients), f"{r:+.1f} {g:+.1f} {b:+.1f}"))
    return sheet([ends, drawn])[0]


def _outline(axes: Axes | None, box: tuple[int, int, int, int], color: str) -> None:
    """box: (top, left, height, width)."""
    from matplotlib.patches import Rectangle

    assert axes is not None
    top, left, height, width = box
    axes.add_patch(
        Rectangle(
            (left - 0.5, top - 0.5), width, height, fill=False, edgecolor=color, linewidth=1.4
        )
    )


_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")


def crops(trick: Any) -> Figure:
    """Five crops of an image, and the views that they become."""
    from classification.resampling import resize
    from classification.tricks.random_resized_crop import random_crop_box

    image = sample("toadstool", side=2 * SIDE)
    row: list[tuple[Image, str] | None] = [(image, "the image")]
    boxes = []
    for seed in range(VIEWS):
        box = random_crop_box(
            np.random.default_rng(seed),
            height=len(image),
            width=len(image),
            area=trick.area,
            aspect_ratio=trick.aspect_ratio,
        )
        top, left, height, width = box
        boxes.append(box)
        view = resize(
            image[top : top + height, left : left + width],
            width=SIDE,
            height=SIDE,
            interpolation=trick.interpolation,
        )
        area, ratio = height * width / len(image) ** 2, width / height
        row.append((view, f"area {area:.2f}\naspect ratio {ratio:.2f}"))
    figure, axes = sheet([row])
    for number, (box, color) in enumerate(zip(boxes, _COLORS, strict=True)):
        _outline(axes[0][0], box, color)
        _outline(axes[0][number + 1], (2, 2, SIDE - 4, SIDE - 4), color)
    return figure


def evaluation_crops(trick: Any) -> Figure:
    """The central crop that is evaluated, for three fractions: what 0.875 leaves out at the
    border is what 0.95 sees more."""
    from classification.augmentation import center_view

    image = sample("toadstool", side=2 * SIDE)
    row: list[tuple[Image, str] | None] = [(image, "the image")]
    fractions = (0.875, trick.fraction, 1.0)
    for fraction in fractions:
        view = center_view(image, size=SIDE, resize_size=round(SIDE / fraction))
        row.append((view, f"fraction {fraction:g}"))
    figure, axes = sheet([row])
    for fraction, color in zip(fractions, _COLORS, strict=False):
        side = round(fraction * len(image)) - 2
        start = (len(image) - side) // 2
        _outline(axes[0][0], (start, start, side, side), color)
    return figure


def repeated(trick: Any) -> Figure:
    """Six views that follow each other in the stream of a training: each image once, and each as
    often as the trick says."""
    from classification.augmentation import Augmentation, augment
    from engine.randomness import EpochStream, sample_rng

    names = ("toadstool", "melon", "cookie", "starfish", "leaf", "zebra_ball")
    rows: list[list[tuple[Image, str] | None]] = []
    for repeats in (1, trick.repeats):
        keys = iter(EpochStream(len(names), seed=0, repeats=repeats))
        row: list[tuple[Image, str] | None] = []
        for _ in range(6):
            key = next(keys)
            view, _lighting = augment(
                sample(names[key.sample]),
                size=SIDE,
                augmentation=Augmentation(area=(0.3, 1.0)),
                rng=sample_rng(0, key),
            )
            row.append((view, names[key.sample]))
        rows.append(row)
    return sheet(rows, titles=["repeats 1", f"repeats {trick.repeats}"])[0]


def erased(trick: Any) -> Figure:
    """Six images of a batch, under several settings."""
    names = ["toadstool", "melon", "cookie", "starfish", "leaf", "zebra_ball"]
    images, targets = batch(names)
    if trick.name == "cutout":
        variants = [(f"size {s:g}", replace(trick, size=s)) for s in (0.25, trick.size)]
    else:
        variants = [
            (f'mode "{mode}", probability 1', replace(trick, mode=mode, probability=1.0))
            for mode in ("pixel", "color", "mean")
        ]
    rows = []
    for _, variant in variants:
        holed, _ = variant.transform_batch(images, targets, np.random.default_rng(1))
        rows.append([(image, "") for image in shown(holed)])
    return sheet(rows, titles=[title for title, _ in variants])[0]


def apparent_sizes(trick: Any) -> Figure:
    """How large an object appears in a random crop that becomes a training image, as a multiple of
    how large it appears in the evaluation (224 pixels out of a shorter side of 256): 20,000 crops
    of an image of 500 x 375 pixels. At scale 1 objects are mostly larger in training.
    """
    from matplotlib.figure import Figure

    from classification.tricks.random_resized_crop import random_crop_box

    height, width, evaluated = 375, 500, 224
    rng = np.random.default_rng(0)
    boxes = [
        random_crop_box(
            rng, height=height, width=width, area=(0.08, 1.0), aspect_ratio=(3 / 4, 4 / 3)
        )
        for _ in range(20_000)
    ]
    crop = np.sqrt([float(h * w) for _, _, h, w in boxes])
    in_evaluation = 256 / height  # pixels of the view for one of the image
    figure = Figure(layout="constrained")
    axes = figure.add_subplot()
    for scale, style in ((1.0, "-"), (trick.scale, "--")):
        ratio = round(scale * evaluated) / crop / in_evaluation
        counts, edges = np.histogram(ratio, bins=np.linspace(0, 3.2, 81), density=True)
        label = f"scale {scale:.3g}: median {np.median(ratio):.2f}"
        axes.stairs(counts, edges, label=label, linestyle=style, linewidth=1.6)
    axes.axvline(1, color="0.4", linewidth=0.8)
    axes.set(xlabel="apparent size in training / in evaluation", ylabel="density", ylim=(0, None))
    axes.legend()
    return figure
