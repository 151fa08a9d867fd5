"""AutoAugment against the published policy, as timm and torchvision have it."""

from __future__ import annotations

import math
from collections import Counter

import cv2
import numpy as np
import pytest
from PIL import Image
from timm.data.auto_augment import auto_augment_policy_original
from torchvision.transforms import AutoAugment as TorchvisionAutoAugment
from torchvision.transforms import AutoAugmentPolicy, InterpolationMode
from torchvision.transforms.autoaugment import _apply_op

from classification.image_operations import MEAN_COLOR, operate
from classification.operation_space import ENHANCING, PARAMETERLESS
from classification.tricks import auto_augment as module
from classification.tricks.auto_augment import AUTO_AUGMENT_SPACE, IMAGENET_POLICY, AutoAugment

TORCHVISION_NAMES = {
    "shear_x": "ShearX",
    "shear_y": "ShearY",
    "translate_x": "TranslateX",
    "translate_y": "TranslateY",
    "rotate": "Rotate",
    "brightness": "Brightness",
    "color": "Color",
    "contrast": "Contrast",
    "sharpness": "Sharpness",
    "posterize": "Posterize",
    "solarize": "Solarize",
    "auto_contrast": "AutoContrast",
    "equalize": "Equalize",
    "invert": "Invert",
}
theirs = TorchvisionAutoAugment(AutoAugmentPolicy.IMAGENET)


def test_the_policy_is_torchvisions() -> None:
    ours = [
        tuple(
            (TORCHVISION_NAMES[name], probability, None if name in PARAMETERLESS else level)
            for name, probability, level in pair
        )
        for pair in IMAGENET_POLICY
    ]
    assert ours == theirs.policies


def test_the_policy_has_the_levels_that_timm_has_from_the_paper() -> None:
    expected = [
        [(op.name.replace("Original", ""), op.prob, op.magnitude) for op in pair]
        for pair in auto_augment_policy_original({})
    ]
    ours = [[(TORCHVISION_NAMES[name], p, level) for name, p, level in x] for x in IMAGENET_POLICY]
    assert ours == expected


@pytest.mark.parametrize("sign", [1, -1])
def test_levels_go_as_far_as_torchvisions(sign: int) -> None:
    height, width = 96, 160
    space = theirs._augmentation_space(10, (height, width))
    assert {TORCHVISION_NAMES[name] for name in AUTO_AUGMENT_SPACE.operations} == set(space)
    for name in AUTO_AUGMENT_SPACE.operations:
        magnitudes, signed = space[TORCHVISION_NAMES[name]]
        for level in range(10):
            ours = AUTO_AUGMENT_SPACE.argument(
                name, level / 9, sign=sign, height=height, width=width
            )
            if not magnitudes.ndim:
                assert ours is None
                continue
            expected = float(magnitudes[level]) * (sign if signed else 1)
            # torchvision's own reading of its magnitudes, in _apply_op
            if name in ENHANCING:
                expected += 1
            elif name.startswith("translate"):
                expected = int(round(expected, 4))  # its float32 makes 15.99999 of 16
            assert ours == pytest.approx(expected, abs=1e-4)


def _soft_image() -> np.ndarray:
    coarse = np.random.default_rng(4).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("name", AUTO_AUGMENT_SPACE.operations)
def test_an_operation_of_the_policy_does_to_pixels_what_torchvisions_does(name: str) -> None:
    image, level = _soft_image(), 7
    magnitudes, _ = theirs._augmentation_space(10, (64, 64))[TORCHVISION_NAMES[name]]
    magnitude = float(magnitudes[level]) if magnitudes.ndim else 0.0
    # torchvision's positive translation moves right and down, the paper's left and up; its shears
    # and rotations agree. The direction is random either way.
    sign = -1 if name.startswith("translate") else 1
    argument = AUTO_AUGMENT_SPACE.argument(name, level / 9, sign=sign, height=64, width=64)
    ours = operate(image, name, argument).astype(int)
    pil = _apply_op(
        Image.fromarray(image),
        TORCHVISION_NAMES[name],
        magnitude,
        InterpolationMode.BILINEAR,
        list(MEAN_COLOR),
    )
    difference = np.abs(ours - np.asarray(pil)).max(axis=2)
    # All but the rim where the image ends: there Pillow repeats pixels and OpenCV blends.
    assert (difference <= 3).mean() > 0.96
    assert np.median(difference) <= 1


def test_operations_come_as_often_as_the_policy_says(monkeypatch: pytest.MonkeyPatch) -> None:
    done: Counter[str] = Counter()
    monkeypatch.setattr(module, "operate", lambda view, name, _: (done.update([name]), view)[1])
    rng, view, n = np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8), 5000
    for _ in range(n):
        AutoAugment().transform_view(view, rng)
    expected: Counter[str] = Counter()
    for pair in theirs.policies:
        for name, probability, _ in pair:
            expected[name] += probability / len(theirs.policies)
    assert {TORCHVISION_NAMES[name] for name in done} == {k for k, v in expected.items() if v}
    for name, count in done.items():
        rate = expected[TORCHVISION_NAMES[name]]
        # An image has at most two of one kind, so that the variance is below 2 n rate.
        assert abs(count - n * rate) < 5 * math.sqrt(2 * n * rate)


def test_both_directions_come_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[float] = []
    monkeypatch.setattr(
        module, "operate", lambda view, name, x: (name == "rotate" and turns.append(x), view)[1]
    )
    rng, view = np.random.default_rng(1), np.zeros((8, 8, 3), np.uint8)
    for _ in range(4000):
        AutoAugment().transform_view(view, rng)
    left = sum(turn > 0 for turn in turns)
    assert len(turns) > 500
    assert abs(left - len(turns) / 2) < 2.5 * math.sqrt(len(turns))  # five standard deviations


def test_a_view_is_a_function_of_its_generator() -> None:
    image = _soft_image()
    before = image.copy()
    views = [AutoAugment().transform_view(image, np.random.default_rng(i)) for i in (3, 3, 5)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert views[0].shape == image.shape
    assert views[0].dtype == np.uint8
    assert np.array_equal(image, before)
