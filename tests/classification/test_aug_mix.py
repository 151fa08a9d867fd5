"""AugMix: its space against torchvision's, its mixing by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from scipy.stats import kstest
from torchvision.transforms import AugMix as TorchvisionAugMix

from classification.operation_space import ENHANCING
from classification.tricks import aug_mix as module
from classification.tricks.aug_mix import AUG_MIX_SPACE, AugMix, mix_chains


def torchvision_name(name: str) -> str:
    return "".join(map(str.capitalize, name.split("_")))


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("all_operations", [True, False])
def test_the_space_is_torchvisions(all_operations: bool, sign: int) -> None:
    height, width = 96, 160
    operations = AUG_MIX_SPACE.operations + (ENHANCING if all_operations else ())
    theirs = TorchvisionAugMix(all_ops=all_operations)._augmentation_space(10, (height, width))
    assert sorted(map(torchvision_name, operations)) == sorted(theirs)
    for name in operations:
        magnitudes, signed = theirs[torchvision_name(name)]
        for level in range(10):
            ours = AUG_MIX_SPACE.argument(name, level / 9, sign=sign, height=height, width=width)
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


def test_mixing_by_hand() -> None:
    view = np.full((1, 1, 3), 100, np.uint8)
    chains = [np.full((1, 1, 3), value, np.uint8) for value in (0, 200, 40)]
    # 0.25 * 100 + 0.75 (0.5 * 0 + 0.3 * 200 + 0.2 * 40) = 25 + 51
    assert (
        mix_chains(view, chains, weights=[0.5, 0.3, 0.2], share=0.25).ravel().tolist() == [76] * 3
    )
    assert (
        mix_chains(view, chains, weights=[0.5, 0.3, 0.2], share=1.0).ravel().tolist() == [100] * 3
    )
    assert (
        mix_chains(view, chains, weights=[0.0, 1.0, 0.0], share=0.0).ravel().tolist() == [200] * 3
    )


@settings(max_examples=30, deadline=None)
@given(
    stack=npst.arrays(np.uint8, (4, 3, 3, 3), fill=st.nothing()),
    raw=st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
    share=st.floats(0, 1),
)
def test_mixing_is_the_weighted_sum(stack: np.ndarray, raw: list[float], share: float) -> None:
    weights = [x / sum(raw) for x in raw]
    expected = share * stack[0].astype(float)
    for chain, weight in zip(stack[1:], weights, strict=True):
        expected += (1 - share) * weight * chain
    mixed = mix_chains(stack[0], list(stack[1:]), weights=weights, share=share)
    assert mixed.dtype == np.uint8
    assert np.abs(mixed - expected).max() <= 0.501


def _recorded(
    trick: AugMix, monkeypatch: pytest.MonkeyPatch, n: int
) -> tuple[list[tuple[str, float]], list[tuple[Sequence[float], float]]]:
    done: list[tuple[str, float]] = []
    mixes: list[tuple[Sequence[float], float]] = []
    monkeypatch.setattr(module, "operate", lambda view, *what: (done.append(what), view)[1])
    monkeypatch.setattr(
        module,
        "mix_chains",
        lambda view, chains, *, weights, share: (mixes.append((weights, share)), view)[1],
    )
    rng, view = np.random.default_rng(0), np.zeros((90, 90, 3), np.uint8)
    for _ in range(n):
        trick.transform_view(view, rng)
    return done, mixes


def test_weights_are_dirichlet_and_shares_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    _, mixes = _recorded(AugMix(), monkeypatch, 1000)
    weights = np.array([weights for weights, _ in mixes])
    assert weights.shape == (1000, 3)
    assert weights.sum(axis=1) == pytest.approx(np.ones(1000))
    # A component of Dirichlet(1, 1, 1) is Beta(1, 2); Beta(1, 1) is uniform.
    assert all(kstest(weights[:, i], "beta", args=(1, 2)).pvalue > 1e-3 for i in range(3))
    assert kstest([share for _, share in mixes], "uniform").pvalue > 1e-3


def test_chains_have_one_to_three_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    done, _ = _recorded(AugMix(), monkeypatch, 1500)
    # 4500 chains of 2 on average; the variance of a length is 2 / 3.
    assert abs(len(done) - 9000) < 5 * (4500 * 2 / 3) ** 0.5
    assert {name for name, _ in done} == set(AUG_MIX_SPACE.operations)
    exact, _ = _recorded(AugMix(width=2, depth=4), monkeypatch, 50)
    assert len(exact) == 50 * 2 * 4


@pytest.mark.parametrize(("severity", "strongest"), [(1, 0.0), (3, 30 * 2 / 9), (10, 30.0)])
def test_severity_bounds_the_strength(
    severity: int, strongest: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    done, _ = _recorded(AugMix(severity=severity, depth=3), monkeypatch, 400)
    turns = [abs(x) for name, x in done if name == "rotate"]
    assert len(turns) > 200
    assert max(turns) == pytest.approx(strongest)


@pytest.mark.parametrize("all_operations", [True, False])
def test_a_view_is_a_function_of_its_generator(all_operations: bool) -> None:
    image = np.random.default_rng(2).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    before = image.copy()
    trick = AugMix(all_operations=all_operations)
    views = [trick.transform_view(image, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert (views[0].shape, views[0].dtype) == (image.shape, image.dtype)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    "knobs",
    [{"severity": 0}, {"severity": 11}, {"width": 0}, {"depth": 0}, {"depth": -2}, {"alpha": 0}],
)
def test_knobs_out_of_range_are_refused(knobs: dict) -> None:
    (name,) = knobs
    with pytest.raises(ValueError, match=rf"{name} must .* not "):
        AugMix(**knobs)
