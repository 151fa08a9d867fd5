"""Resizing is Pillow's, within what FAST_PATHS promises, and its own where that is switched off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_sample_images

from classification.resampling import resize
from engine.fast_paths import VARIABLE

SIDES = st.integers(1, 160)


def by_pillow(image: np.ndarray, width: int, height: int, method: str) -> np.ndarray:
    filter_ = Image.Resampling[method.upper()]
    return np.asarray(Image.fromarray(image).resize((width, height), filter_)).astype(int)


@settings(max_examples=30, deadline=None)
@given(sides=st.tuples(SIDES, SIDES, SIDES, SIDES), seed=st.integers(0, 99))
def test_bilinear_lies_within_two_levels_of_pillows(sides: tuple[int, ...], seed: int) -> None:
    height, width, to_height, to_width = sides
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    found = resize(noise, width=to_width, height=to_height)
    assert found.shape == (to_height, to_width, 3)
    assert found.dtype == np.uint8
    assert np.abs(found - by_pillow(noise, to_width, to_height, "bilinear")).max() <= 2


def test_bilinear_lies_mostly_within_a_level_of_pillows() -> None:
    """At 5 to 4, where it differs most often: both sides round twice, and halves lie on the way."""
    beyond = []
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, (150, 150, 3), np.uint8)
        found = resize(noise, width=120, height=120)
        beyond.append(np.abs(found - by_pillow(noise, 120, 120, "bilinear")) > 1)
    assert np.mean(beyond) <= 1e-4


@pytest.mark.parametrize(
    ("source", "share", "most"), [("photographs", 1e-4, 10), ("noise", 5e-3, 25)]
)
def test_bicubic_lies_mostly_within_two_levels_of_pillows(
    source: str, share: float, most: int
) -> None:
    """Of crops of all shapes: both sides grow, both shrink, or one of each."""
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (400, 400, 3), np.uint8)]
    if source == "photographs":
        images = load_sample_images().images
    differences = []
    for number in range(100):
        image = images[number % len(images)]
        height, width = (int(rng.integers(1, side)) for side in image.shape[:2])
        top = int(rng.integers(0, image.shape[0] - height + 1))
        left = int(rng.integers(0, image.shape[1] - width + 1))
        crop = image[top : top + height, left : left + width].copy()
        side = int(rng.choice([32, 64, 128, 224]))
        found = resize(crop, width=side, height=side, interpolation="bicubic")
        differences.append(np.abs(found - by_pillow(crop, side, side, "bicubic")).ravel())
    difference = np.concatenate(differences)
    assert np.mean(difference > 2) <= share
    assert difference.max() <= most


@pytest.mark.parametrize("method", ["bilinear", "bicubic"])
@pytest.mark.parametrize("side", [20, 90])
def test_switched_off_it_is_pillows(
    monkeypatch: pytest.MonkeyPatch, method: str, side: int
) -> None:
    monkeypatch.setenv(VARIABLE, "resize")
    noise = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    found = resize(noise, width=side, height=side, interpolation=method)  # type: ignore[arg-type]
    assert np.array_equal(found, by_pillow(noise, side, side, method))


def test_nothing_aliases() -> None:
    """Columns that alternate black and white become grey, not stripes."""
    stripes = np.zeros((128, 128, 3), np.uint8)
    stripes[:, ::2] = 255
    shrunk = resize(stripes, width=37, height=37)[:, 2:-2]
    assert np.ptp(shrunk.astype(int)) < 16


def test_a_part_of_a_larger_image_is_resized_as_its_copy() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    part = noise[5:45, 10:70]
    assert np.array_equal(
        resize(part, width=20, height=20), resize(part.copy(), width=20, height=20)
    )
