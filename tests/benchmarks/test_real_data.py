"""The example benchmark of real photographs is readable as it is, its two flat boxes included."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from benchmarks.prepare import ensure_ready
from benchmarks.schema import load_benchmark
from benchmarks.voc_layout import read_split

pytestmark = pytest.mark.real_data

EXAMPLE = Path(__file__).resolve().parents[2] / "benchmarks/examples/real_photographs.toml"


@pytest.fixture(autouse=True)
def _named(real_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRICKLE_REAL_DATA", str(real_data))


def test_the_example_is_ready_and_ready_again_within_a_second(
    capfd: pytest.CaptureFixture[str],
) -> None:
    benchmark = load_benchmark(EXAMPLE)
    first = ensure_ready(benchmark)
    warning = capfd.readouterr().err
    assert "dropped 2 boxes without an area (BloodImage_00338.xml, BloodImage_00343.xml)" in warning
    start = time.perf_counter()
    assert ensure_ready(benchmark) == first
    assert time.perf_counter() - start < 1
    assert capfd.readouterr().err == warning


def test_blood_cells_are_read_in_full() -> None:
    budget = load_benchmark(EXAMPLE).detection
    assert budget is not None
    images = [
        image
        for split in (*budget.train, budget.test)
        for image in read_split(budget.root, split, budget.classes)
    ]
    names = [item.name for image in images for item in image.objects]
    assert len(images) == 364
    # 4,155 + 372 + 361 objects in the files, two of them (both RBC) without an area.
    assert {name: names.count(name) for name in budget.classes} == {
        "RBC": 4153,
        "WBC": 372,
        "Platelets": 361,
    }
