"""The bench of a head on cached features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import frozen_head
from bench.train_step import Configuration


@pytest.mark.slow
def test_a_step_of_the_head_is_five_times_as_fast_as_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Configuration(size=64, width=0.25, batch=32)
    monkeypatch.setattr(frozen_head, "CONFIGURATIONS", (small,))
    file = tmp_path / "found.json"
    frozen_head.main(["--rounds", "3", "--json", str(file)])
    found = json.loads(file.read_text())
    assert found["name"] == "frozen_head"
    assert set(found["ratios"]) == {"full_step", "no_grad_step"}
    assert found["ratios"]["full_step"] > 5
    raw = found["raw"]["64x0.25"]
    assert len(raw["seconds"]["trickle"]) == 3
    assert raw["once_seconds"] > 0
