from __future__ import annotations

from typing import Any

import pytest

from backbones.features import FeatureSpec


def test_round_trip() -> None:
    spec = FeatureSpec(channels=(64, 128), strides=(4, 8))
    assert spec.to_dict() == {"channels": [64, 128], "strides": [4, 8]}
    assert FeatureSpec.from_dict(spec.to_dict()) == spec


def test_select() -> None:
    spec = FeatureSpec(channels=(1, 2, 3, 4), strides=(4, 8, 16, 32))
    assert spec.select((1, 3)) == FeatureSpec(channels=(2, 4), strides=(8, 32))


@pytest.mark.parametrize(
    ("channels", "strides"),
    [((), ()), ((1, 2), (4,)), ((0,), (4,)), ((64,), (-4,)), ((64, 64), (8, 4)), ((1.5,), (4,))],
)
def test_impossible_levels_are_refused(channels: Any, strides: Any) -> None:
    with pytest.raises(ValueError, match="strides"):
        FeatureSpec(channels=channels, strides=strides)


@pytest.mark.parametrize("data", [{"channels": [1]}, {"channels": [1], "strides": [4], "x": 1}])
def test_other_keys_are_refused(data: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="channels and strides"):
        FeatureSpec.from_dict(data)
