"""Corruptions at values worked out by hand, against Pillow and scipy, and their determinism."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from classification.corruptions import corrupt, disk, streak
from classification.robustness_protocol import CORRUPTIONS

RNG = np.random.default_rng


def photo(side: int = 64) -> Any:
    """Smooth colours with some edges."""
    y, x = np.mgrid[:side, :side] / side
    image = np.stack([x, y, (np.sin(9 * x) + np.cos(7 * y) + 2) / 4], 2)
    image[side // 4 : side // 2, side // 3 : side // 2] = (0.9, 0.1, 0.3)
    return np.rint(255 * image).astype(np.uint8)


def constant(*color: int, side: int = 64) -> Any:
    return np.full((side, side, 3), color, np.uint8)


@pytest.mark.parametrize("name", CORRUPTIONS)
@pytest.mark.parametrize("level", [1, 5])
def test_the_same_draws_give_the_same_pixels_and_the_image_stays(name: str, level: int) -> None:
    image = photo()
    found = corrupt(image, name, level=level, rng=RNG(3))
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert np.array_equal(found, corrupt(image, name, level=level, rng=RNG(3)))
    assert np.array_equal(image, photo())
    assert not np.array_equal(found, image)


@pytest.mark.parametrize(
    "name", [name for name in CORRUPTIONS if name not in ("saturate", "brightness")]
)
def test_a_higher_level_changes_more(name: str) -> None:
    image = photo(128)
    changes = [
        np.abs(corrupt(image, name, level=level, rng=RNG(3)).astype(float) - image).mean()
        for level in (1, 3, 5)
    ]
    assert changes == sorted(changes)
    assert changes[0] < changes[2]


@pytest.mark.parametrize("name", ["defocus_blur", "motion_blur", "gaussian_blur", "pixelate"])
def test_blurring_a_constant_image_leaves_it_as_it_is(name: str) -> None:
    image = constant(20, 130, 250)
    found = corrupt(image, name, level=5, rng=RNG(0)).astype(int)
    assert np.abs(found - image).max() <= 1


def test_brightness_is_added_to_the_largest_channel() -> None:
    # Value 0.4 + 0.3; hue and saturation stay, so all channels grow by 0.7 / 0.4.
    found = corrupt(constant(102, 51, 0), "brightness", level=3, rng=RNG(0))
    assert found[0, 0].tolist() == pytest.approx([178.5, 89.25, 0], abs=1)
    assert corrupt(constant(200, 200, 200), "brightness", level=5, rng=RNG(0)).min() == 255


def test_contrast_is_about_the_mean_of_each_channel() -> None:
    image = constant(100, 50, 0)
    image[:32] += 40  # means 120, 70, 20
    found = corrupt(image, "contrast", level=3, rng=RNG(0))  # a fifth of 20 is 4
    assert found[0, 0].tolist() == [124, 74, 24]
    assert found[63, 0].tolist() == [116, 66, 16]


def test_saturation_by_hand() -> None:
    # Saturation 0.5 becomes 0.05 at level 2: the smaller channels come near to the largest.
    found = corrupt(constant(200, 100, 100), "saturate", level=2, rng=RNG(0))
    assert found[0, 0].tolist() == pytest.approx([200, 190, 190], abs=1)
    grey = corrupt(constant(90, 90, 90), "saturate", level=3, rng=RNG(0))
    assert np.array_equal(grey, constant(90, 90, 90))


def test_noise_has_the_moments_of_its_parameters() -> None:
    image = constant(128, 128, 128, side=224)
    found = corrupt(image, "gaussian_noise", level=1, rng=RNG(1)) / 255
    assert found.std() == pytest.approx(0.08, rel=0.02)
    # Poisson: the variance of k / c is x / c.
    found = corrupt(image, "shot_noise", level=1, rng=RNG(1)) / 255
    assert found.std() == pytest.approx(np.sqrt(128 / 255 / 60), rel=0.03)
    assert found.mean() == pytest.approx(128 / 255, abs=0.002)


def test_impulses_are_black_or_white_in_equal_parts() -> None:
    image = constant(128, 128, 128, side=224)
    found = corrupt(image, "impulse_noise", level=5, rng=RNG(1))
    values, counts = np.unique(found, return_counts=True)
    assert values.tolist() == [0, 128, 255]
    assert (counts / counts.sum()).tolist() == pytest.approx([0.135, 0.73, 0.135], abs=0.005)


def test_the_gaussian_blur_is_scipys_of_a_length_scaled_by_the_side() -> None:
    image = photo(112)
    expected = gaussian_filter(image.astype(float), (2, 2, 0), mode="nearest")  # 4 * 112 / 224
    found = corrupt(image, "gaussian_blur", level=4, rng=RNG(0)).astype(float)
    assert np.abs(found - expected).max() <= 2


def test_jpeg_is_pillows() -> None:
    image = photo(96)
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=15)
    expected = np.asarray(Image.open(file)).astype(int)
    found = corrupt(image, "jpeg", level=3, rng=RNG(0)).astype(int)
    # The two libraries round differently here and there.
    assert np.abs(found - expected).mean() < 1
    assert np.abs(found - image).mean() > 1.5


def test_pixelation_is_pillows() -> None:
    image = photo(64)
    small = Image.fromarray(image).resize((16, 16), Image.Resampling.BOX)  # a quarter, level 5
    expected = np.asarray(small.resize((64, 64), Image.Resampling.BOX)).astype(int)
    found = corrupt(image, "pixelate", level=5, rng=RNG(0)).astype(int)
    assert np.abs(found - expected).max() <= 1
    assert len(np.unique(found.reshape(-1, 3), axis=0)) <= 16 * 16


def test_kernels_sum_to_one_and_lie_where_they_should() -> None:
    kernel = disk(4.0, edge=0.1)
    y, x = np.indices(kernel.shape) - kernel.shape[0] // 2
    assert kernel.sum() == pytest.approx(1, abs=1e-5)
    assert np.allclose(kernel, kernel.T)
    assert kernel[x**2 + y**2 > 6**2].max(initial=0) == pytest.approx(0, abs=1e-4)
    # Uniform within a circle: the mean of x^2 is r^2 / 4.
    assert (kernel * x**2).sum() == pytest.approx(4.0, rel=0.05)
    line = streak(8.0, 3.0, 0.0)
    middle = line.shape[0] // 2
    assert line.sum() == pytest.approx(1, abs=1e-5)
    assert line[middle].sum() == pytest.approx(1, abs=1e-5)
    # Half a Gaussian of sigma 3 on the grid 0, 0.25 ... 8.
    steps = np.arange(0, 8.01, 0.25)
    weights = np.exp(-(steps**2) / 18)
    mean = (line[middle] * (np.arange(len(line)) - middle)).sum()
    assert mean == pytest.approx((weights * steps).sum() / weights.sum(), rel=1e-4)
    assert streak(8.0, 3.0, 45.0)[: middle + 1, middle:].sum() == pytest.approx(1, abs=1e-5)
