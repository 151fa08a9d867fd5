"""The bench of how cost grows: its slopes, and the file that it writes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.growth import main, slope_of


def test_the_slope_of_a_power_is_its_exponent() -> None:
    sizes = [10, 40, 160, 640]
    slope, error = slope_of(sizes, [3 * size**1.5 for size in sizes])
    assert slope == pytest.approx(1.5)
    assert error == pytest.approx(0, abs=1e-9)


def test_the_error_is_that_of_least_squares() -> None:
    rng = np.random.default_rng(0)
    sizes = [1, 10, 100, 1000, 10_000]
    values = [size**0.8 * np.exp(rng.normal(0, 0.3)) for size in sizes]
    line, covariance = np.polyfit(np.log(sizes), np.log(values), 1, cov=True)
    assert slope_of(sizes, values) == pytest.approx((line[0], covariance[0, 0] ** 0.5))


def test_two_sizes_give_no_error() -> None:
    with pytest.raises(ValueError, match="three sizes, not 2"):
        slope_of([1, 2], [1.0, 2.0])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_file_has_the_contracts_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICKLE_CACHE", str(tmp_path / "cache"))
    file = tmp_path / "growth.json"
    main(["--largest", "20000", "--folder", str(tmp_path), "--json", str(file)])
    found = json.loads(file.read_text())
    assert set(found) == {"name", "machine", "versions", "ratios", "raw"}
    curves = {(curve["driver"], curve["name"]): curve for curve in found["raw"]["curves"]}
    assert {driver for driver, _ in curves} == {"images", "classes", "pixels", "rows", "seeds"}
    assert all(len(curve["sizes"]) == len(curve["values"]) == 4 for curve in curves.values())
    # Reaching a sample and the memory of a process do not grow with the number of images.
    for name in ("path and label of one", "memory of a process"):
        assert abs(curves["images", name]["exponent"]) < 0.2
    assert found["raw"]["imagenet"]["files"] == 20_000
    assert not list(tmp_path.glob("growth-*"))
