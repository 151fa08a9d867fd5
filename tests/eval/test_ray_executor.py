"""Jobs on a Ray cluster of several nodes, through the command line on fake stages."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
import torch

from backbones.create import create_backbone

pytest.importorskip("ray", reason="the extra [cluster]")

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ASK = ("--backbone", "resnet50d_mixup", "--out", "out", "--executor", "ray")
pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(180)]


class Stages(Protocol):
    folder: Path
    calls: list[str]

    def start(self, *arguments: str, **options: str) -> subprocess.Popen[str]: ...


class Nodes:
    """A head without processors, and nodes with one each."""

    def __init__(self, count: int) -> None:
        from ray.cluster_utils import Cluster

        logging.getLogger("ray").setLevel(logging.ERROR)
        small = {"object_store_memory": 80 << 20}
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "include_dashboard": False, **small},
        )
        for _ in range(count):
            self.cluster.add_node(wait=False, num_cpus=1, **small)
        self.cluster.wait_for_nodes(60)

    @property
    def address(self) -> str:
        return str(self.cluster.address)

    def raylet_of(self, process: int) -> int:
        """The raylet below which a job's process runs."""
        raylets = {
            info.process.pid
            for node in self.cluster.worker_nodes
            for info in node.all_processes["raylet"]
        }
        while process > 1:
            if process in raylets:
                return process
            process = parent(process)
        raise AssertionError("it runs below no node")


def parent(process: int) -> int:
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])


def wait_for(what: Callable[[], Any], *, seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.05)
    return found


def gone(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state == "Z"


def spans(stages: Stages) -> list[list[str]]:
    file = stages.folder / "spans.txt"
    return [line.split() for line in file.read_text().splitlines()] if file.exists() else []


def mean(stages: Stages, name: str, metric: str) -> float:
    table = json.loads((stages.folder / "out" / "table.json").read_text())
    row = next(row for row in table["rows"] if row["backbone"] == name)
    return float(row["metrics"][metric]["mean"])


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes, whose workers find the fake stage; what else it is told comes with each job."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(HERE)]))
        patch.setenv("TRICKLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        started = Nodes(2)
        try:
            yield started
        finally:
            started.cluster.shutdown()


def test_the_table_is_that_of_the_local_executor(stages: Stages, nodes: Nodes) -> None:
    run = stages.start(*ASK, "--ray-address", nodes.address)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    assert len(stages.calls) == 6
    assert mean(stages, "resnet50d_mixup", "mAP") == 30  # what the fake stage reports
    assert mean(stages, "scratch:resnet50d", "mIoU") == 20
    assert err == ""  # Ray's own words are not the user's
    assert "[6/6]" in out
    assert "(raylet)" not in out
    assert not list((stages.folder / "out" / "locks").iterdir())
    logs = {file.name for file in (stages.folder / "out" / "logs").iterdir()}
    assert len(logs) == 6


def test_what_a_node_without_the_folder_makes_comes_back(stages: Stages, nodes: Nodes) -> None:
    run = stages.start(*ASK, "--ray-address", nodes.address, "--storage", "pull")
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    places = [line.split() for line in (stages.folder / "calls.txt").read_text().splitlines()]
    there = {call[call.index("--artifact") + 1] for call in places}
    assert not [place for place in there if place.startswith(str(stages.folder / "out"))]
    assert not [place for place in there if Path(place).exists()]  # nothing is left on the node
    artifacts = sorted((stages.folder / "out" / "artifacts").iterdir())
    weights = {(path / "model.safetensors").read_bytes() for path in artifacts}
    assert weights == {b"stand in for tensors"}
    assert len(artifacts) == 2
    assert mean(stages, "resnet50d_mixup", "mAP") == 30
    assert len(list((stages.folder / "out" / "logs").iterdir())) == 6


@pytest.mark.parametrize("storage", ["auto", "pull"])
def test_a_weights_file_comes_with_the_job(stages: Stages, nodes: Nodes, storage: str) -> None:
    weights = stages.folder / "w.pth"
    torch.save(create_backbone("resnet50d", width=0.25).state_dict(), weights)
    ask = ("--backbone", f"resnet50d@{weights}", *ASK[2:], "--tasks", "detection")
    run = stages.start(*ask, "--ray-address", nodes.address, "--storage", storage)
    out, err = run.communicate(timeout=120)
    assert run.returncode == 0, out + err
    calls = (stages.folder / "calls.txt").read_text().split()
    (given,) = (word.partition("@")[2] for word in calls if word.startswith("resnet50d@"))
    assert Path(given).name == "w.pth"
    assert given != str(weights)  # not what lies there on the node
    assert len(list((stages.folder / "out" / "artifacts").glob("[!.]*/card.json"))) == 2


def test_a_node_that_is_lost_costs_nothing(stages: Stages, nodes: Nodes) -> None:
    run = stages.start(*ASK, "--ray-address", nodes.address, FAKE_SECONDS="3")
    try:
        begun = wait_for(lambda: [span for span in spans(stages) if span[1] == "begins"])
        time.sleep(0.5)
        os.kill(nodes.raylet_of(int(begun[0][3])), signal.SIGKILL)
        out, err = run.communicate(timeout=150)
    finally:
        run.kill()
    assert run.returncode == 0, out + err
    lost = begun[0][0]
    assert stages.calls.count(lost) == 2
    assert len(stages.calls) == 7
    assert "is begun again" in out
    assert mean(stages, "resnet50d_mixup", "mAP") == 30
    assert mean(stages, "scratch:resnet50d", "mIoU") == 20
    nodes.cluster.add_node(num_cpus=1, object_store_memory=80 << 20)  # for the tests that follow


def test_ctrl_c_ends_the_jobs_and_leaves_none(stages: Stages, nodes: Nodes) -> None:
    run = stages.start(*ASK, "--ray-address", nodes.address, FAKE_HANG="pretraining")
    pid = int(wait_for(lambda: (p := stages.folder / "calls.pid").exists() and p.read_text()))
    run.send_signal(signal.SIGINT)
    out, err = run.communicate(timeout=60)
    assert run.returncode == 130, out + err
    assert gone(pid)


def test_the_call_after_a_killed_driver_goes_on(stages: Stages, nodes: Nodes) -> None:
    ask = (*ASK, "--ray-address", nodes.address)
    run = stages.start(*ask, FAKE_HANG="pretraining")
    pid = int(wait_for(lambda: (p := stages.folder / "calls.pid").exists() and p.read_text()))
    run.kill()
    run.communicate()
    again = stages.start(*ask)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 0, out + err
    assert gone(pid)
    times: dict[str, list[tuple[str, float]]] = {}
    for job, what, at, _ in spans(stages):
        times.setdefault(job, []).append((what, float(at)))
    for job, events in times.items():
        whats = [what for what, _ in sorted(events, key=lambda event: event[1])]
        alone = ["begins", "ends"] * (len(whats) // 2)
        assert whats in (alone, ["begins", *alone]), job  # never two of one job at once
    assert mean(stages, "resnet50d_mixup", "mAP") == 30


def test_a_node_with_another_version_is_named_before_any_job(
    stages: Stages, nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "import sys, eval.errand as e; real = e.software;"
        "e.software = lambda: {**real(), 'torch': '1.0'};"
        "import fake_run, runpy; runpy.run_path(fake_run.__file__, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *ASK, "--ray-address", nodes.address],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stdout + done.stderr
    assert "error: node " in done.stderr
    assert "with the driver" in done.stderr
    assert "1.0" in done.stderr
    assert stages.calls == []
