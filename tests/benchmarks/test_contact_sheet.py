"""The sheet that a person looks at before trusting a benchmark."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from benchmarks.contact_sheet import main


def test_a_sheet_of_any_benchmark_within_its_size(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    file = make_benchmark(tmp_path / "data")
    out = tmp_path / "new" / "sheet.jpg"
    main(["--benchmark", str(file), "--out", str(out), "--max-kilobytes", "150"])
    assert out.stat().st_size <= 150_000
    sheet = cv2.imread(str(out))
    assert sheet.shape[1] == 960
    # The data's three colors are in it, and white between them.
    for color in ((40, 60, 220), (40, 200, 60), (220, 50, 40), (255, 255, 255)):
        near = abs(sheet[:, :, ::-1].astype(int) - color).max(axis=2) < 40
        assert near.sum() > 1000, color


def test_a_size_that_cannot_be_kept_is_said(
    make_benchmark: Callable[..., Path], tmp_path: Path
) -> None:
    file = make_benchmark(tmp_path / "data")
    with pytest.raises(ValueError, match="--max-kilobytes"):
        main(["--benchmark", str(file), "--out", str(tmp_path / "x.jpg"), "--max-kilobytes", "1"])
