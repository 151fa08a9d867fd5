"""The bench of what tricks cost: which ones it measures, and the file that it writes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench.trick_overhead import BASE, HELD_TO, SCHEDULED, UNMEASURED, WITHOUT
from classification.tricks import TRICKS
from classification.tricks.examples import EXAMPLES

ROOT = Path(__file__).resolve().parents[2]


def test_every_trick_is_measured_or_says_why_not() -> None:
    assert {*UNMEASURED, *SCHEDULED, *WITHOUT, *HELD_TO} <= set(TRICKS)
    assert not set(UNMEASURED) & {*SCHEDULED, *WITHOUT, *HELD_TO}
    for name in set(TRICKS) - set(UNMEASURED):
        assert (BASE | EXAMPLES[name]).trick_names == ("large_batch", name)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_file_has_the_contracts_parts(tmp_path: Path) -> None:
    file = tmp_path / "overhead.json"
    threads = {"TRICKLE_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    for tricks in (["label_smoothing", "epochs", "warmup"], ["cosine_decay"]):
        words = [
            "bench/trick_overhead.py",
            "--rounds",
            "2",
            "--json",
            str(file),
            "--tricks",
            *tricks,
        ]
        subprocess.run(
            [sys.executable, *words], cwd=ROOT, env={**os.environ, **threads}, check=True
        )
    found = json.loads(file.read_text())
    assert set(found) == {"name", "machine", "versions", "ratios", "raw"}
    assert found["name"] == "trick_overhead"
    # In the order of TRICKS; the second call has kept what the first one found.
    assert list(found["raw"]["tricks"]) == ["warmup", "epochs", "cosine_decay", "label_smoothing"]
    assert set(found["ratios"]) == {"warmup", "cosine_decay", "label_smoothing"}
    assert found["raw"]["tricks"]["epochs"] == {"unmeasured": "it changes how many steps there are"}
    # A closed form takes nothing that shows in a step.
    assert 0 < found["raw"]["tricks"]["cosine_decay"]["percent"]["estimate"] < 0.1
