"""Single changes of a view: flips, crops of one size, geometry, colours, single operations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import InterpolationMode, functional

from benchmarks.pixels import EncodedImage
from classification.augmentation import Augmentation, augment
from classification.geometry import affine_matrix, perspective_matrix, warp
from classification.recipe import Recipe
from classification.tricks import (
    Affine,
    AutoContrast,
    CenterCrop,
    ColorSkew,
    Equalize,
    Flips,
    Invert,
    Perspective,
    Posterize,
    RandomCrop,
    RandomResizedCrop,
    Rotation,
    Solarize,
)
from classification.tricks.color_skew import skew_colors
from classification.tricks.trick import Trick

QUIET = Augmentation(flip_probability=0, color=0, lighting_std=0)


def smooth(height: int = 48, width: int = 64, channels: int = 3) -> np.ndarray:
    """So smooth that two ways of rounding weights agree within a few levels."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, channels), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def inside(found: np.ndarray, expected: np.ndarray) -> float:
    """The largest difference where the other's image comes from inside (its fill is 0)."""
    covered = cv2.erode((expected.sum(-1) > 0).astype(np.uint8), np.ones((5, 5))).astype(bool)
    covered[:3], covered[-3:], covered[:, :3], covered[:, -3:] = False, False, False, False
    assert covered.mean() > 0.3
    return float(np.abs(found.astype(int) - expected)[covered].max())


def by_torchvision(image: np.ndarray, change: Callable[[torch.Tensor], torch.Tensor]) -> np.ndarray:
    return change(torch.from_numpy(image).permute(2, 0, 1)).permute(1, 2, 0).numpy()


@pytest.mark.parametrize(
    ("degrees", "shift", "scale", "shear"),
    [(30, (0, 0), 1, 0), (-100, (0, 0), 1, 0), (0, (5, -7), 1, 0), (0, (0, 0), 1.3, 0),
     (0, (0, 0), 1, 15), (20, (3, 4), 0.8, -10)],
)  # fmt: skip
def test_an_affine_change_is_torchvisions(
    degrees: float, shift: tuple[int, int], scale: float, shear: float
) -> None:
    image = smooth()
    matrix = affine_matrix(
        height=48, width=64, degrees=degrees, shift=shift, scale=scale, shear=shear
    )
    expected = by_torchvision(
        image,
        lambda x: functional.affine(
            x, angle=degrees, translate=list(shift), scale=scale, shear=[shear, 0],
            interpolation=InterpolationMode.BILINEAR,
        ),
    )  # fmt: skip
    assert inside(warp(image, matrix, fill="mean"), expected) <= 4


def test_a_perspective_is_torchvisions() -> None:
    image, corners = smooth(), [[6, 3], [60, 8], [55, 44], [2, 40]]
    start = [[0, 0], [63, 0], [63, 47], [0, 47]]
    expected = by_torchvision(
        image,
        lambda x: functional.perspective(
            x, startpoints=start, endpoints=corners, interpolation=InterpolationMode.BILINEAR
        ),
    )
    matrix = perspective_matrix(np.array(corners), height=48, width=64)
    assert inside(warp(image, matrix, fill="mean"), expected) <= 4


@pytest.mark.parametrize("fill", ["mean", "reflect"])
def test_what_comes_from_outside(fill: str) -> None:
    image = smooth(channels=4)
    moved = warp(image, affine_matrix(height=48, width=64, shift=(10, 0)), fill=fill)  # type: ignore[arg-type]
    assert np.array_equal(moved[:, 10:], image[:, :-10])
    if fill == "mean":
        assert (moved[:, :10] == [124, 117, 104, 0]).all()
    else:
        assert np.array_equal(moved[:, :10], image[:, 10:0:-1])


@pytest.mark.parametrize("trick", [Rotation(25), Affine(), Perspective(0.4, probability=1.0)])
def test_draws_differ_follow_the_seed_and_stay_in_their_range(trick: Trick) -> None:
    image = smooth()
    views = [trick.transform_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert views[0].shape == image.shape
    # None of these changes takes the middle of the image far away.
    middle = np.abs(np.mean(views[0][20:28, 28:36].astype(int) - image[20:28, 28:36]))
    assert middle < 60


def test_a_quarter_turn_is_exact() -> None:
    square = smooth(33, 33)
    matrix = affine_matrix(height=33, width=33, degrees=90)
    turned = cv2.rotate(square, cv2.ROTATE_90_CLOCKWISE)
    assert np.array_equal(warp(square, matrix, fill="mean"), turned)


def test_each_channel_is_skewed_by_its_own_line() -> None:
    image = np.array([[[10, 100, 250], [0, 255, 7]]], np.uint8)
    found = skew_colors(image, gain=np.array([1.5, 0.5, 1.1]), offset=np.array([5, -10, 0]))
    assert found.tolist() == [[[20, 40, 255], [5, 118, 8]]]
    drawn = ColorSkew(gain=0.2, offset=20).transform_view(image, np.random.default_rng(0))
    values = image.astype(int)
    assert (drawn <= np.minimum(255, np.ceil(1.2 * values + 20))).all()
    assert (drawn >= np.maximum(0, np.floor(0.8 * values - 20))).all()
    assert np.array_equal(ColorSkew(0, 0).transform_view(image, np.random.default_rng(0)), image)


@pytest.mark.parametrize(
    ("trick", "by_pillow"),
    [
        (Invert(1.0), ImageOps.invert),
        (Posterize(bits=3, probability=1.0), lambda image: ImageOps.posterize(image, 3)),
        (Solarize(threshold=100, probability=1.0), lambda image: ImageOps.solarize(image, 100)),
        (AutoContrast(1.0), ImageOps.autocontrast),
        (Equalize(1.0), ImageOps.equalize),
    ],
)
def test_a_single_operation_is_pillows(
    trick: Trick, by_pillow: Callable[[Image.Image], Image.Image]
) -> None:
    image = (smooth() // 2 + 40).astype(np.uint8)
    found = trick.transform_view(image, np.random.default_rng(0))
    assert np.array_equal(found, np.asarray(by_pillow(Image.fromarray(image))))


@pytest.mark.parametrize("make", [Invert, Posterize, Solarize, AutoContrast, Equalize])
def test_it_is_done_as_often_as_it_says(make: type[Trick]) -> None:
    image, rng = (smooth(32, 32) // 2 + 40).astype(np.uint8), np.random.default_rng(0)
    trick = make(probability=0.3)  # type: ignore[call-arg]
    done = [not np.array_equal(trick.transform_view(image, rng), image) for _ in range(400)]
    assert sum(done) == pytest.approx(120, abs=30)  # over three standard deviations


@pytest.mark.parametrize(("horizontal", "vertical"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_flips_are_certain_where_they_are_asked_for(horizontal: float, vertical: float) -> None:
    recipe = Recipe(augmentation=QUIET) | Flips(horizontal, vertical) | CenterCrop(1.0)
    image = smooth(20, 20, channels=4)
    view, _ = augment(
        image, size=20, augmentation=recipe.augmentation, tricks=recipe.acting,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    expected = image[:, ::-1] if horizontal else image
    assert np.array_equal(view, expected[::-1] if vertical else expected)


def test_the_center_crop_is_the_middle_square() -> None:
    image = smooth(40, 60)
    box = CenterCrop(0.5).crop_box(np.random.default_rng(0), height=40, width=60)
    assert box == (10, 20, 20, 20)
    view, _ = augment(
        image, size=20, augmentation=QUIET, tricks=[CenterCrop(0.5)], rng=np.random.default_rng(0)
    )
    assert np.array_equal(view, image[10:30, 20:40])


def test_random_crops_have_one_size_and_reach_every_border() -> None:
    rng, trick = np.random.default_rng(0), RandomCrop(fraction=0.5)
    boxes = [trick.crop_box(rng, height=10, width=16) for _ in range(500)]
    assert {box[2:] for box in boxes if box} == {(5, 5)}
    assert {box[0] for box in boxes if box} == set(range(6))
    assert {box[1] for box in boxes if box} == set(range(12))


def test_a_crop_beyond_the_image_shows_its_reflection(tmp_path: Path) -> None:
    image, trick = smooth(20, 30), RandomCrop(fraction=1.0, padding=0.4)
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="symmetric")
    file = tmp_path / "image.png"
    Image.fromarray(image).save(file)
    for seed in range(20):
        box = trick.crop_box(np.random.default_rng(seed), height=20, width=30)
        assert box is not None
        top, left, side, _ = box
        expected = padded[top + 8 : top + 8 + side, left + 8 : left + 8 + side]
        for source in (image, EncodedImage.read(file)):
            view, _ = augment(
                source, size=20, augmentation=QUIET, tricks=[trick],
                rng=np.random.default_rng(seed),
            )  # fmt: skip
            assert np.array_equal(view, expected)


def test_a_recipe_has_one_crop() -> None:
    with pytest.raises(ValueError, match="a recipe has one crop"):
        Recipe() | RandomResizedCrop() | RandomCrop()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Flips(1.1),
        lambda: Flips(vertical=-0.1),
        lambda: CenterCrop(0),
        lambda: RandomCrop(1.1),
        lambda: RandomCrop(0.5, padding=0.25),
        lambda: Rotation(0),
        lambda: Rotation(fill="black"),
        lambda: Rotation(probability=2),
        lambda: Affine(shift=2),
        lambda: Affine(scale=(1.1, 0.9)),
        lambda: Affine(shear=90),
        lambda: Affine(degrees=-1),
        lambda: Perspective(1.0),
        lambda: ColorSkew(1.0),
        lambda: ColorSkew(offset=256),
        lambda: Posterize(0),
        lambda: Posterize(2.5),
        lambda: Solarize(257),
        lambda: Invert(-0.1),
    ],
)
def test_knobs_out_of_range_are_refused(make: Callable[[], Trick]) -> None:
    with pytest.raises(ValueError, match=r"must .* not "):
        make()
