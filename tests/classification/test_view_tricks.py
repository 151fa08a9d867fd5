"""Tricks that set how views are made: what a recipe holds after them, and what they refuse."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from classification.recipe import Recipe
from classification.tricks import TRICKS
from classification.tricks.aug_mix import AugMix
from classification.tricks.auto_augment import AutoAugment
from classification.tricks.color_scaling import ColorScaling
from classification.tricks.cutout import Cutout
from classification.tricks.evaluation_crop import EvaluationCrop
from classification.tricks.pca_lighting import PCALighting
from classification.tricks.rand_augment import RandAugment
from classification.tricks.random_erasing import RandomErasing
from classification.tricks.random_resized_crop import RandomResizedCrop
from classification.tricks.repeated_augmentation import RepeatedAugmentation
from classification.tricks.train_resolution import TrainResolution
from classification.tricks.trick import KINDS, Trick
from classification.tricks.trivial_augment import TrivialAugment

ALL: tuple[Trick, ...] = (
    AugMix(),
    AutoAugment(),
    ColorScaling(),
    Cutout(),
    EvaluationCrop(),
    PCALighting(),
    RandAugment(),
    RandomErasing(),
    RandomResizedCrop(),
    RepeatedAugmentation(),
    TrainResolution(0.5),
    TrivialAugment(),
    *(
        TRICKS[name]()
        for name in (
            "affine", "alpha_channel", "auto_contrast", "ben_graham", "center_crop", "color_skew",
            "color_space", "equalize", "flips", "grey", "invert", "per_image_normalization",
            "perspective", "posterize", "random_crop", "rotation", "solarize",
        )
    ),
)  # fmt: skip


@pytest.mark.parametrize(
    ("trick", "numbers"),
    [
        (ColorScaling(0.2), {"color": 0.2}),
        (ColorScaling(0), {"color": 0}),
        (PCALighting(0.3), {"lighting_std": 0.3}),
        (PCALighting(0), {"lighting_std": 0}),
        (
            RandomResizedCrop((0.35, 1.0), (0.5, 2.0), interpolation="bicubic"),
            {"area": (0.35, 1.0), "aspect_ratio": (0.5, 2.0), "interpolation": "bicubic"},
        ),
    ],
)
def test_what_the_augmentation_becomes(trick: Trick, numbers: dict) -> None:
    before, after = Recipe().augmentation, (Recipe() | trick).augmentation
    assert vars(after) == {**vars(before), **numbers}
    assert after != before


@pytest.mark.parametrize(
    ("trick", "field", "value"),
    [
        (RepeatedAugmentation(3), "repeats", 3),
        (TrainResolution(0.5), "train_size_scale", 0.5),
        (EvaluationCrop(0.95), "evaluation_crop", 0.95),
    ],
)
def test_what_the_recipe_becomes(trick: Trick, field: str, value: float) -> None:
    assert getattr(Recipe() | trick, field) == value
    assert getattr(Recipe(), field) != value


@pytest.mark.parametrize("trick", [ColorScaling(), PCALighting(), RandomResizedCrop()])
def test_the_defaults_are_the_baseline(trick: Trick) -> None:
    assert (Recipe() | trick).augmentation == Recipe().augmentation


@pytest.mark.parametrize(
    ("first", "second"),
    [(RandAugment(), AutoAugment()), (TrivialAugment(), AugMix()), (Cutout(), RandomErasing())],
)
def test_a_recipe_has_one_policy_and_one_way_of_erasing(first: Trick, second: Trick) -> None:
    with pytest.raises(ValueError, match=rf"{second.name} conflicts with {first.name}"):
        Recipe() | first | second


def test_policies_erasing_and_the_baseline_go_together() -> None:
    recipe = Recipe() | RandAugment() | RandomErasing() | ColorScaling(0) | PCALighting(0)
    assert len(recipe.tricks) == 4


@pytest.mark.parametrize("trick", ALL, ids=lambda trick: trick.name)
def test_cards_are_whole(trick: Trick) -> None:
    words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(trick).__name__)
    assert trick.name.replace("_", "") == words.replace("_", "")
    assert trick.kind == "augmentation"
    assert trick.kind in KINDS
    assert trick.card.source.count(",") >= 1
    assert trick.card.effect
    assert trick.__doc__


@pytest.mark.parametrize(
    "make",
    [
        lambda: ColorScaling(1.0),
        lambda: ColorScaling(-0.1),
        lambda: PCALighting(-0.1),
        lambda: PCALighting(math.nan),
        lambda: RandomResizedCrop((0.0, 1.0)),
        lambda: RandomResizedCrop((0.5, 0.2)),
        lambda: RandomResizedCrop((0.5, 1.2)),
        lambda: RandomResizedCrop(aspect_ratio=(0.0, 1.0)),
        lambda: RandomResizedCrop(aspect_ratio=(2.0, 1.0)),
        lambda: RandomResizedCrop(interpolation="lanczos"),
        lambda: RepeatedAugmentation(0),
        lambda: TrainResolution(0.0),
        lambda: TrainResolution(2.5),
        lambda: EvaluationCrop(0.5),
        lambda: EvaluationCrop(1.01),
    ],
)
def test_knobs_out_of_range_are_refused(make: object) -> None:
    with pytest.raises(ValueError, match=r"must .* not "):
        make()


def test_they_import_without_torch_numpy_and_opencv() -> None:
    modules = sorted({type(trick).__module__ for trick in ALL})
    code = (
        f"import sys, {', '.join(modules)}; print({{'torch', 'numpy', 'cv2'}} & set(sys.modules))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
