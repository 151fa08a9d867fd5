"""RandAugment against timm's, operation by operation; the paper's list against torchvision's."""

from __future__ import annotations

import math
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from timm.data import auto_augment as timms
from torchvision.transforms import RandAugment as TorchvisionRandAugment

from classification.image_operations import MEAN_COLOR, operate
from classification.operation_space import ENHANCING
from classification.tricks import rand_augment as module
from classification.tricks.rand_augment import (
    RAND_AUGMENT_OPERATIONS,
    RandAugment,
    operation_argument,
)

TIMM = RAND_AUGMENT_OPERATIONS["timm"]


def timm_name(name: str, *, increasing: bool) -> str:
    """solarize_add -> SolarizeAdd, posterize -> PosterizeIncreasing, ..."""
    camel = "".join(word.capitalize() for word in name.split("_"))
    if name in ("translate_x", "translate_y"):
        return f"{camel}Rel"
    grows = increasing and name in (*ENHANCING, "posterize", "solarize")
    return f"{camel}Increasing" if grows else camel


def test_the_operations_are_timms() -> None:
    for increasing, theirs in (
        (True, timms._RAND_INCREASING_TRANSFORMS),
        (False, timms._RAND_TRANSFORMS),
    ):
        ours = [timm_name(name, increasing=increasing) for name in TIMM]
        assert sorted(ours) == sorted(theirs)


def test_the_papers_operations_are_torchvisions() -> None:
    theirs = TorchvisionRandAugment()._augmentation_space(31, (64, 64))
    ours = ["".join(map(str.capitalize, x.split("_"))) for x in RAND_AUGMENT_OPERATIONS["paper"]]
    assert sorted(ours) == sorted(theirs)


@pytest.mark.parametrize("increasing", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", TIMM)
def test_arguments_are_timms(
    name: str, sign: int, increasing: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # timm negates where its coin is above one half.
    monkeypatch.setattr(timms.random, "random", lambda: 0.1 if sign == 1 else 0.9)
    level_to_argument = timms.LEVEL_TO_ARG[timm_name(name, increasing=increasing)]
    height, width = 96, 160
    side = {"translate_x": width, "translate_y": height}.get(name, 1)
    for magnitude in np.arange(0, 10.25, 0.25):
        ours = operation_argument(
            name, magnitude, increasing=increasing, sign=sign, height=height, width=width
        )
        if level_to_argument is None:
            assert ours is None
        else:
            (theirs,) = level_to_argument(magnitude, timms._HPARAMS_DEFAULT)
            assert ours == pytest.approx(theirs * side, rel=1e-12)


@pytest.mark.parametrize("name", TIMM)
def test_an_operation_does_to_pixels_what_timms_does(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timms.random, "random", lambda: 0.1)
    rng = np.random.default_rng(4)
    coarse = rng.integers(30, 180, (6, 6, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (64, 64), interpolation=cv2.INTER_CUBIC)
    image = image + rng.integers(0, 20, image.shape, dtype=np.uint8)
    knobs = {"img_mean": MEAN_COLOR, "interpolation": Image.Resampling.BILINEAR}
    theirs = timms.AugmentOp(
        timm_name(name, increasing=True), prob=1.0, magnitude=7, hparams=knobs
    )(Image.fromarray(image))
    argument = operation_argument(name, 7, increasing=True, sign=1, height=64, width=64)
    ours = operate(image, name, argument).astype(int)
    difference = np.abs(ours - np.asarray(theirs)).max(axis=2)
    # All but the rim where the image ends: there Pillow repeats pixels and OpenCV blends.
    assert (difference <= 2).mean() > 0.96
    assert np.abs(ours - image).max() > 5


def test_it_can_say_what_timm_says_in_one_word() -> None:
    theirs = timms.rand_augment_transform("rand-m7-mstd0.5-inc1", {})
    ours = RandAugment(magnitude=7, magnitude_std=0.5)
    (probability,) = {op.prob for op in theirs.ops}
    (magnitude,) = {op.magnitude for op in theirs.ops}
    (std,) = {op.magnitude_std for op in theirs.ops}
    assert (ours.num_ops, ours.probability) == (theirs.num_layers, probability)
    assert (ours.magnitude, ours.magnitude_std) == (magnitude, std)
    assert [op.name for op in theirs.ops if "Increasing" in op.name]
    assert ours.increasing


def _recorded(
    trick: RandAugment, monkeypatch: pytest.MonkeyPatch, n: int
) -> list[tuple[str, float]]:
    done: list[tuple[str, float]] = []
    monkeypatch.setattr(module, "operate", lambda view, *what: (done.append(what), view)[1])
    rng, view = np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8)
    for _ in range(n):
        trick.transform_view(view, rng)
    return done


def test_each_operation_comes_equally_often(monkeypatch: pytest.MonkeyPatch) -> None:
    n, probability = 4000, 0.5
    done = Counter(name for name, _ in _recorded(RandAugment(num_ops=2), monkeypatch, n))
    assert set(done) == set(TIMM)
    rate = probability / len(TIMM)
    for count in done.values():
        assert abs(count - 2 * n * rate) < 5 * math.sqrt(2 * n * rate * (1 - rate))


def test_the_papers_law_applies_all(monkeypatch: pytest.MonkeyPatch) -> None:
    trick = RandAugment(num_ops=3, probability=1.0, operations="paper")
    done = _recorded(trick, monkeypatch, 400)
    assert len(done) == 3 * 400
    assert {name for name, _ in done} == set(RAND_AUGMENT_OPERATIONS["paper"])


def test_the_magnitude_is_normal_and_cut_at_ten(monkeypatch: pytest.MonkeyPatch) -> None:
    trick = RandAugment(magnitude=7, magnitude_std=0.5, probability=1.0)
    turns = [abs(x) / 3 for name, x in _recorded(trick, monkeypatch, 3500) if name == "rotate"]
    assert len(turns) > 350
    assert np.mean(turns) == pytest.approx(7, abs=0.13)  # five standard deviations of the mean
    assert np.std(turns) == pytest.approx(0.5, abs=0.08)
    strong = RandAugment(magnitude=10, magnitude_std=2, probability=1.0)
    turns = [abs(x) / 3 for name, x in _recorded(strong, monkeypatch, 1500) if name == "rotate"]
    assert max(turns) == pytest.approx(10)
    assert np.mean(np.isclose(turns, 10)) == pytest.approx(0.5, abs=0.17)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32), magnitude=st.floats(0, 10), increasing=st.booleans())
def test_a_view_is_a_function_of_its_generator(
    seed: int, magnitude: float, increasing: bool
) -> None:
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = image.copy()
    trick = RandAugment(magnitude=magnitude, magnitude_std=0.5, increasing=increasing)
    first, second = (trick.transform_view(image, np.random.default_rng(seed)) for _ in range(2))
    assert np.array_equal(first, second)
    assert (first.shape, first.dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, before)


def test_probability_zero_changes_nothing() -> None:
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    trick = RandAugment(probability=0.0)
    for seed in range(20):
        assert np.array_equal(trick.transform_view(image, np.random.default_rng(seed)), image)


@pytest.mark.parametrize(
    "knobs",
    [
        {"num_ops": 0},
        {"magnitude": -1},
        {"magnitude": 10.5},
        {"magnitude": math.nan},
        {"magnitude_std": -0.1},
        {"magnitude_std": math.inf},
        {"probability": 1.1},
        {"operations": "torchvision"},
    ],
)
def test_knobs_out_of_range_are_refused(knobs: dict) -> None:
    (name,) = knobs
    with pytest.raises(ValueError, match=rf"{name} must .* not "):
        RandAugment(**knobs)
