"""TrivialAugment against torchvision's TrivialAugmentWide."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from torchvision.transforms import TrivialAugmentWide

from classification.operation_space import ENHANCING
from classification.tricks import trivial_augment as module
from classification.tricks.trivial_augment import LEVELS, WIDE_SPACE, TrivialAugment

theirs = TrivialAugmentWide()._augmentation_space(31)


def torchvision_name(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


@pytest.mark.parametrize("sign", [1, -1])
def test_the_space_is_torchvisions(sign: int) -> None:
    assert sorted(map(torchvision_name, WIDE_SPACE.operations)) == sorted(theirs)
    for name in WIDE_SPACE.operations:
        magnitudes, signed = theirs[torchvision_name(name)]
        for level in range(31):
            ours = WIDE_SPACE.argument(name, level / 30, sign=sign, height=224, width=224)
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


def test_one_operation_its_level_and_its_direction_are_uniform(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[tuple[str, float]] = []
    monkeypatch.setattr(module, "operate", lambda view, *what: (done.append(what), view)[1])
    rng, view, n = np.random.default_rng(0), np.zeros((8, 8, 3), np.uint8), 14_000
    for _ in range(n):
        TrivialAugment().transform_view(view, rng)
    assert len(done) == n
    names = Counter(name for name, _ in done)
    assert set(names) == set(WIDE_SPACE.operations)
    for count in names.values():  # 1000 each, five standard deviations
        assert abs(count - n / 14) < 5 * math.sqrt(n / 14)
    turns = [round(x / 4.5) for name, x in done if name == "rotate"]  # 135 degrees in 30 steps
    assert set(turns) == set(range(-30, 31))
    levels = Counter(map(abs, turns))
    expected = len(turns) / LEVELS
    assert all(abs(count - expected) < 5 * math.sqrt(expected) for count in levels.values())
    turned = [turn for turn in turns if turn]
    left = sum(turn > 0 for turn in turned)
    assert abs(left - len(turned) / 2) < 2.5 * math.sqrt(len(turned))


def test_a_view_is_a_function_of_its_generator() -> None:
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = image.copy()
    views = {}
    for seed in range(20):
        first, second = (
            TrivialAugment().transform_view(image, np.random.default_rng(seed)) for _ in range(2)
        )
        assert np.array_equal(first, second)
        assert (first.shape, first.dtype) == (image.shape, image.dtype)
        views[first.tobytes()] = seed
    assert len(views) > 10
    assert np.array_equal(image, before)
