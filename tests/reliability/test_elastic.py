"""torchrun starts all processes again where one is lost, on one machine and on two."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engine.checkpoint_file import read_checkpoint
from engine.results import StageResult


@pytest.fixture(scope="module")
def stages(make_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    # A checkpoint after each step.
    return make_stages(tmp_path_factory.mktemp("elastic"))


@pytest.fixture(scope="module")
def undisturbed(stages: Any) -> StageResult:
    result: StageResult = stages.finish("classification", "undisturbed", processes=2)
    return result


def final_weights(stages: Any, name: str) -> dict[str, Any]:
    return dict(read_checkpoint(stages.folder / name / "work/iter_12.safetensors")["state_dict"])


def same_end(stages: Any, name: str, undisturbed: StageResult) -> bool:
    result = StageResult.read(stages.folder / name / "result.json")
    weights, expected = final_weights(stages, name), final_weights(stages, "undisturbed")
    return result.metrics == undisturbed.metrics and all(
        weights[key].equal(value) for key, value in expected.items()
    )


def children(pid: int) -> list[int]:
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.reliability(
    1, "torchrun --max-restarts goes on from the last checkpoint where a process is killed"
)
def test_all_start_again(
    stages: Any, undisturbed: StageResult, measured: Callable[[str], None]
) -> None:
    name = "restarted"
    started = stages.torchrun(
        "classification", name, "--standalone", "--nproc-per-node", "2", "--max-restarts", "2"
    )
    stages.wait_for_step(name, 3, lambda: started.poll() is None)
    os.kill(children(started.pid)[1], signal.SIGKILL)
    assert started.wait(150) == 0, stages.log(name).read_text()
    said = stages.log(name).read_text()
    assert "error: another process of this training has ended" in said
    assert "continues from step" in said
    assert same_end(stages, name, undisturbed)
    measured("2 processes, 1 killed at step 3: the same bits at the end")


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.reliability(
    2, "two torchruns that find each other by c10d train as two processes of one do"
)
def test_two_nodes(stages: Any, undisturbed: StageResult, free_port: int) -> None:
    rendezvous = f"--nnodes 2 --nproc-per-node 1 --rdzv-backend c10d --rdzv-id {os.getpid()}"
    options = [*rendezvous.split(), "--rdzv-endpoint", f"127.0.0.1:{free_port}"]
    options += ["--local-addr", "127.0.0.1"]
    name = "nodes"
    place = stages.folder / name
    place.mkdir()
    nodes = [
        stages.torchrun("classification", name, *options, log_name=str(place / f"node{n}.log"))
        for n in range(2)
    ]
    for number, node in enumerate(nodes):
        assert node.wait(150) == 0, (place / f"node{number}.log").read_text()
    assert same_end(stages, name, undisturbed)
