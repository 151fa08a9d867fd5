"""The paper's augmentation against torchvision's law, colorsys and hand-computed values."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop

from classification.augmentation import Augmentation, augment, center_view
from classification.tricks.color_scaling import scale_colors
from classification.tricks.pca_lighting import pca_lighting
from classification.tricks.random_resized_crop import random_crop_box


def test_crops_follow_torchvisions_law() -> None:
    rng = np.random.default_rng(0)
    knobs = {"area": (0.08, 1.0), "aspect_ratio": (3 / 4, 4 / 3)}
    ours = np.array([random_crop_box(rng, height=375, width=500, **knobs) for _ in range(4000)])
    torch.manual_seed(0)
    image = torch.empty(3, 375, 500)
    theirs = np.array(
        [RandomResizedCrop.get_params(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(4000)]
    )
    for column in range(4):  # top, left, height, width
        assert ks_2samp(ours[:, column], theirs[:, column]).pvalue > 1e-3
    assert (ours[:, 0] + ours[:, 2] <= 375).all()
    assert (ours[:, 1] + ours[:, 3] <= 500).all()


def test_colors_scale_in_hsv_as_colorsys_has_it() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(30, 220, (16, 16, 3), dtype=np.uint8)
    factors = {"hue": 0.7, "saturation": 1.3, "brightness": 0.8}
    expected = np.empty_like(image)
    for y, x in np.ndindex(16, 16):
        h, s, v = colorsys.rgb_to_hsv(*(image[y, x] / 255))
        rgb = colorsys.hsv_to_rgb(h * 0.7 % 1, min(1, s * 1.3), min(1, v * 0.8))
        expected[y, x] = np.round(np.array(rgb) * 255)
    difference = np.abs(scale_colors(image, **factors).astype(int) - expected)
    # OpenCV keeps hue, saturation and value in 8 bits each.
    assert difference.max() <= 6
    assert difference.mean() < 1.5


def test_factors_of_one_change_nothing_but_rounding() -> None:
    image = np.random.default_rng(2).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    same = scale_colors(image, hue=1, saturation=1, brightness=1)
    assert np.abs(same.astype(int) - image).max() <= 8  # hue in 256 steps


def test_pca_lighting_by_hand() -> None:
    # One standard coefficient on the first component: 55.46 * (-0.5675, -0.5808, -0.5836).
    assert pca_lighting(np.array([1.0, 0.0, 0.0])).tolist() == pytest.approx(
        [-31.474, -32.211, -32.366], abs=1e-3
    )


def test_a_view_is_a_function_of_its_generator() -> None:
    image = np.random.default_rng(3).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    knobs = {"size": 32, "augmentation": Augmentation()}
    views = [augment(image, rng=np.random.default_rng(seed), **knobs) for seed in (5, 5, 6)]
    assert views[0][0].shape == (32, 32, 3)
    assert np.array_equal(views[0][0], views[1][0])
    assert np.array_equal(views[0][1], views[1][1])
    assert not np.array_equal(views[0][0], views[2][0])


def test_half_of_the_views_are_flipped() -> None:
    image = np.zeros((16, 16, 3), np.uint8)
    image[:, 8:] = 255
    plain = Augmentation(area=(1, 1), aspect_ratio=(1, 1), color=0)
    left_is_bright = sum(
        augment(image, size=16, augmentation=plain, rng=np.random.default_rng(i))[0][0, 0, 0] > 128
        for i in range(1000)
    )
    assert 440 < left_is_bright < 560  # four standard deviations around 500


def test_center_view_takes_the_middle() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 90:110] = 255
    view = center_view(image, size=50, resize_size=50)
    assert view.shape == (50, 50, 3)
    # The 20 bright columns of the middle, halved, lie at columns 20 to 29 of the crop.
    bright = np.flatnonzero(view[25, :, 0] > 128)
    assert (bright[0], bright[-1]) == (20, 29)
