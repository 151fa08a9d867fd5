"""Pairs of images as the mixing tricks make them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from docs.figures.samples import batch, normalized, sample, sheet, shown, target_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LAMBDAS = (0.85, 0.7, 0.5, 0.3)
_PAIR = ["melon", "starfish"]
_MANY = ["melon", "starfish", "candy_stick", "cookie", "leaf", "zebra_ball"]


def _ends(images: Any) -> tuple[tuple[Any, str], tuple[Any, str]]:
    first, second = shown(images)
    return (first, f"{_PAIR[0]} 1.00"), (second, f"{_PAIR[1]} 1.00")


def mixup_pairs(trick: Any) -> Figure:
    """An example, its partner, and the two mixed at four values of λ with the targets that
    result."""
    import torch

    from classification.tricks.mixup import mixup

    images, targets = batch(_PAIR)
    perm = torch.tensor([1, 0])
    first, last = _ends(images)
    row = [first]
    for lam in LAMBDAS:
        mixed, mixed_targets = mixup(images, targets, lam=lam, perm=perm)
        row.append((shown(mixed)[0], f"λ {lam}\n{target_text(mixed_targets[0])}"))
    return sheet([[*row, last]])[0]


def cut_mix_pairs(trick: Any) -> Figure:
    """An example, its partner, and a box of the partner in the example for four draws of λ. The
    targets follow the share of the pixels, which is less than 1 - λ where the box is clipped.
    """
    import torch

    from classification.tricks.cut_mix import cut_mix, random_box

    images, targets = batch(_PAIR)
    perm = torch.tensor([1, 0])
    first, last = _ends(images)
    row = [first]
    rng = np.random.default_rng(6)
    for lam in LAMBDAS:
        box = random_box(rng, height=images.shape[-2], width=images.shape[-1], lam=lam)
        mixed, mixed_targets = cut_mix(images, targets, box=box, perm=perm)
        row.append((shown(mixed)[0], f"λ drawn {lam}\n{target_text(mixed_targets[0])}"))
    return sheet([[*row, last]])[0]


def switched(trick: Any) -> Figure:
    """The first image of one batch in six steps: mixup or CutMix, drawn anew in each."""
    images, targets = batch(_MANY)
    row = []
    for seed in range(6):
        mixed, mixed_targets = trick.transform_batch(images, targets, np.random.default_rng(seed))
        row.append((shown(mixed)[0], target_text(mixed_targets[0])))
    return sheet([row])[0]


def input_pairs(trick: Any) -> Figure:
    """The images are mixed and the target is that of the heavier one: it jumps at λ = 0.5."""
    import torch

    from classification.tricks.input_mixup import input_mixup

    images, targets = batch(_PAIR)
    first, last = _ends(images)
    row = [first]
    for lam in (0.85, 0.6, 0.4, 0.15):
        mixed, kept = input_mixup(images, targets, lam=lam, perm=torch.tensor([1, 0]))
        row.append((shown(mixed)[0], f"λ {lam}\n{target_text(kept[0])}"))
    return sheet([[*row, last]])[0]


def same_class_pairs(trick: Any) -> Figure:
    """A batch of three classes, each example's partner, and the two mixed at λ = 0.5: the target
    stays what it was."""
    import torch

    from classification.tricks.mixup import mixup
    from classification.tricks.same_class_mixup import same_class_permutation

    names = ["melon", "starfish", "melon", "cookie", "starfish", "cookie"]
    images, targets = batch(names)
    classes = targets.argmax(dim=1).numpy()
    perm = torch.from_numpy(same_class_permutation(classes, np.random.default_rng(12)))
    mixed, mixed_targets = mixup(images, targets, lam=0.5, perm=perm)
    return sheet(
        [
            list(zip(shown(images), names, strict=True)),
            [(image, "partner") for image in shown(images[perm])],
            [(x, target_text(y)) for x, y in zip(shown(mixed), mixed_targets, strict=True)],
        ]
    )[0]


def neighbor_pairs(trick: Any) -> Figure:
    """Six examples of a batch of 60, the nearest other one of each in the batch's pixels, and the
    two mixed at λ = 0.5."""
    import torch

    from classification.tricks.mixup import mixup
    from classification.tricks.nearest_neighbor_mixup import draw_neighbors, pixel_distances

    names = _MANY * 10
    images, targets = batch(names)
    distances = pixel_distances(images).fill_diagonal_(float("inf"))
    partners = draw_neighbors(distances, neighbors=1, draws=torch.zeros(len(images)))
    mixed, mixed_targets = mixup(images, targets, lam=0.5, perm=partners)
    some = range(6)
    pictures, partner_pictures = shown(images[:6]), shown(images[partners[:6]])
    blends = shown(mixed[:6])
    return sheet(
        [
            [(pictures[i], names[i]) for i in some],
            [(partner_pictures[i], f"nearest: {names[int(partners[i])]}") for i in some],
            [(blends[i], target_text(mixed_targets[i])) for i in some],
        ]
    )[0]


def noisy(trick: Any) -> Figure:
    """Noise of five standard deviations, in units of the normalized input."""
    images, targets = normalized([sample("melon")]), batch(["melon"])[1]
    row = [(shown(images)[0], "without")]
    for std in (0.05, 0.1, 0.2, 0.5, 1.0):
        noise, _ = replace(trick, std=std).transform_batch(
            images, targets, np.random.default_rng(0)
        )
        row.append((shown(noise)[0], f"std {std}"))
    return sheet([row])[0]
