"""The operations of the AutoAugment family against Pillow."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from PIL import Image, ImageEnhance, ImageOps

from classification.image_operations import (
    MEAN_COLOR,
    OPERATIONS,
    auto_contrast,
    brightness,
    color,
    contrast,
    equalize,
    invert,
    operate,
    posterize,
    rotate,
    sharpness,
    shear_x,
    shear_y,
    solarize,
    solarize_add,
    translate_x,
    translate_y,
)

NEUTRAL = {
    "identity": None,
    "shear_x": 0.0,
    "shear_y": 0.0,
    "translate_x": 0.0,
    "translate_y": 0.0,
    "rotate": 0.0,
    "solarize": 256,
    "solarize_add": 0,
    "posterize": 8,
    "contrast": 1.0,
    "color": 1.0,
    "brightness": 1.0,
    "sharpness": 1.0,
}
"""The number at which each operation leaves the image alone."""

ARGUMENTS = {
    "shear_x": st.floats(-0.99, 0.99),
    "shear_y": st.floats(-0.99, 0.99),
    "translate_x": st.floats(-40, 40),
    "translate_y": st.floats(-40, 40),
    "rotate": st.floats(-180, 180),
    "solarize": st.floats(0, 256),
    "solarize_add": st.integers(0, 128),
    "posterize": st.integers(0, 8),
    "contrast": st.floats(0.01, 1.99),
    "color": st.floats(0.01, 1.99),
    "brightness": st.floats(0.01, 1.99),
    "sharpness": st.floats(0.01, 1.99),
}

images = npst.arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24), st.just(3)),
    fill=st.integers(0, 255),
)


def photograph(seed: int = 0, height: int = 90, width: int = 120) -> np.ndarray:
    """Soft shapes with fine noise; channels of different ranges."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).astype(int)
    image = image * [0.5, 0.8, 0.9] + [60, 10, 20] + rng.integers(-8, 9, image.shape)
    return np.clip(image, 0, 250).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(image=images)
def test_auto_contrast_equalize_and_invert_are_pillows_bit_for_bit(image: np.ndarray) -> None:
    pil = Image.fromarray(image)
    assert np.array_equal(auto_contrast(image), np.asarray(ImageOps.autocontrast(pil)))
    assert np.array_equal(equalize(image), np.asarray(ImageOps.equalize(pil)))
    assert np.array_equal(invert(image), np.asarray(ImageOps.invert(pil)))


def test_stretching_operations_are_pillows_on_photographs_too() -> None:
    # Of many pixels: equalize's step is 0 in images of fewer than 256.
    for seed in range(5):
        image = photograph(seed)
        pil = Image.fromarray(image)
        assert np.array_equal(auto_contrast(image), np.asarray(ImageOps.autocontrast(pil)))
        assert np.array_equal(equalize(image), np.asarray(ImageOps.equalize(pil)))
        assert not np.array_equal(auto_contrast(image), image)
        assert not np.array_equal(equalize(image), image)


@settings(max_examples=30, deadline=None)
@given(image=images, bits=st.integers(1, 8), threshold=st.floats(0, 256))
def test_posterize_and_solarize_are_pillows_bit_for_bit(
    image: np.ndarray, bits: int, threshold: float
) -> None:
    pil = Image.fromarray(image)
    assert np.array_equal(posterize(image, bits), np.asarray(ImageOps.posterize(pil, bits)))
    assert np.array_equal(solarize(image, threshold), np.asarray(ImageOps.solarize(pil, threshold)))


def test_no_bits_are_black() -> None:
    assert not posterize(photograph(), 0).any()


def test_solarize_add_by_hand() -> None:
    # Below 128 the amount is added, from 128 on nothing is.
    row = np.array([[[0, 100, 127], [128, 200, 255]]], np.uint8)
    assert solarize_add(row, 60).tolist() == [[[60, 160, 187], [128, 200, 255]]]
    assert solarize_add(row, 128).tolist() == [[[128, 228, 255], [128, 200, 255]]]


@pytest.mark.parametrize("factor", [0.0, 0.1, 0.37, 0.55, 0.91, 1.0, 1.3, 1.63, 1.9, 1.99])
@pytest.mark.parametrize(
    ("ours", "theirs", "differing"),
    [
        (brightness, ImageEnhance.Brightness, 0.0),
        (contrast, ImageEnhance.Contrast, 0.0),
        # OpenCV's grey differs from Pillow's by one level in a pixel of a thousand, and the
        # smoothed image is not rounded on its way into the blend.
        (color, ImageEnhance.Color, 0.005),
        (sharpness, ImageEnhance.Sharpness, 0.6),
    ],
)
def test_blends_are_pillows_within_one_level(
    ours: Callable, theirs: type, differing: float, factor: float
) -> None:
    rng = np.random.default_rng(1)
    for image in (photograph(), rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)):
        expected = np.asarray(theirs(Image.fromarray(image)).enhance(factor)).astype(int)
        difference = np.abs(ours(image, factor) - expected)
        assert difference.max() <= 1
        assert (difference > 0).mean() <= differing


def _pillow_affine(image: np.ndarray, matrix: tuple[float, ...]) -> np.ndarray:
    pil = Image.fromarray(image)
    return np.asarray(
        pil.transform(
            pil.size,
            Image.Transform.AFFINE,
            matrix,
            Image.Resampling.BILINEAR,
            fillcolor=MEAN_COLOR,
        )
    )


def _pillow_rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    return np.asarray(
        Image.fromarray(image).rotate(degrees, Image.Resampling.BILINEAR, fillcolor=MEAN_COLOR)
    )


GEOMETRY: list[tuple[Callable, Callable, float]] = [
    (shear_x, lambda im, v: _pillow_affine(im, (1, v, 0, 0, 1, 0)), 0.27),
    (shear_x, lambda im, v: _pillow_affine(im, (1, v, 0, 0, 1, 0)), -0.9),
    (shear_y, lambda im, v: _pillow_affine(im, (1, 0, 0, v, 1, 0)), 0.27),
    (shear_y, lambda im, v: _pillow_affine(im, (1, 0, 0, v, 1, 0)), -0.9),
    (translate_x, lambda im, v: _pillow_affine(im, (1, 0, v, 0, 1, 0)), 13.25),
    (translate_x, lambda im, v: _pillow_affine(im, (1, 0, v, 0, 1, 0)), -20),
    (translate_y, lambda im, v: _pillow_affine(im, (1, 0, 0, 0, 1, v)), 13.25),
    (translate_y, lambda im, v: _pillow_affine(im, (1, 0, 0, 0, 1, v)), -20),
    (rotate, _pillow_rotate, 30.0),
    (rotate, _pillow_rotate, -7.5),
    (rotate, _pillow_rotate, 135.0),
]


@pytest.mark.parametrize(("ours", "theirs", "value"), GEOMETRY)
def test_geometry_is_pillows_bilinear_one(ours: Callable, theirs: Callable, value: float) -> None:
    image = photograph()
    expected = theirs(image, value)
    black = theirs(np.zeros_like(image), value)
    outside = np.pad(black.any(axis=2).astype(np.uint8), 1, constant_values=1)
    near = cv2.dilate(outside, np.ones((3, 3)))[1:-1, 1:-1] > 0
    far = cv2.erode(outside, np.ones((3, 3)))[1:-1, 1:-1] > 0
    # At the image's rim, which is near the outside but not far in it, Pillow repeats pixels where
    # OpenCV blends them with the fill. Elsewhere Pillow cuts fractions off and OpenCV rounds.
    difference = np.abs(ours(image, value).astype(int) - expected)
    assert difference[~near].max() <= 2
    assert near.mean() < 0.7
    assert (ours(image, value)[far] == MEAN_COLOR).all()
    assert not np.array_equal(ours(image, value), image)


def test_the_fill_is_a_knob() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    assert translate_x(image, 3, fill=(1, 2, 3))[4, -1].tolist() == [1, 2, 3]
    assert translate_x(image, 3)[4, -1].tolist() == [124, 117, 104]


@pytest.mark.parametrize("name", NEUTRAL)
@settings(max_examples=5, deadline=None)
@given(image=images)
def test_operations_at_their_neutral_number_change_nothing(name: str, image: np.ndarray) -> None:
    assert np.array_equal(operate(image, name, NEUTRAL[name]), image)


@pytest.mark.parametrize("name", OPERATIONS)
@settings(max_examples=8, deadline=None)
@given(image=images, data=st.data())
def test_operations_keep_shape_and_type_and_their_input(
    name: str, image: np.ndarray, data: st.DataObject
) -> None:
    before = image.copy()
    value = data.draw(ARGUMENTS[name]) if name in ARGUMENTS else None
    result = operate(image, name, value)
    assert result.shape == image.shape
    assert result.dtype == np.uint8
    assert np.array_equal(image, before)


def test_operations_take_views_of_larger_images() -> None:
    image = photograph()
    part = image[10:50, 20:70]
    for name in OPERATIONS:
        value = {**NEUTRAL, "rotate": 20.0, "sharpness": 1.8, "posterize": 3}.get(name)
        expected = operate(np.ascontiguousarray(part), name, value)
        assert np.array_equal(operate(part, name, value), expected)
