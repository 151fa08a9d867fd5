"""Many trainings in one process: neither memory nor file handles grow."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SETTLED = 8  # trainings after which all is loaded that is loaded on first use
SOAK = """
import json, os, resource, sys
from pathlib import Path
from classification.pretrain import main

benchmark, folder, runs = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
for run in range(runs):
    place = folder / str(run)
    main([
        "--backbone", "resnet18d_mixup", "--benchmark", benchmark, "--seed", str(run),
        "--artifact", f"{place}/artifact", "--work-dir", f"{place}/work-{run}",
        "--result", f"{place}/result.json",
    ])
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    print(json.dumps({
        "mb": pages * resource.getpagesize() / 2**20,
        "handles": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.reliability(14, "30 trainings in one process: memory, handles and threads are flat")
def test_thirty_trainings(
    make_benchmark: Callable[..., Path], tmp_path: Path, measured: Callable[[str], None]
) -> None:
    benchmark = make_benchmark(tmp_path, pretraining={"workers": 1})
    environment = {"OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", SOAK, str(benchmark), str(tmp_path / "runs"), "30"],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(seen) == 30
    handles = {state["handles"] for state in seen[SETTLED:]}
    assert len(handles) == 1, [state["handles"] for state in seen]
    assert len({state["threads"] for state in seen[SETTLED:]}) == 1
    memory = np.array([state["mb"] for state in seen[SETTLED:]])
    slope = float(np.polyfit(np.arange(len(memory)), memory, 1)[0])
    # A network of this size with its optimizer is 3 MiB: one that stays behind would show.
    assert slope < 0.5, [round(state["mb"]) for state in seen]
    measured(
        f"30 trainings: {slope:+.2f} MiB each after the first {SETTLED} (of {memory[0]:.0f} MiB), "
        f"{handles.pop()} file handles throughout"
    )
