"""Real stages at tiny size in processes that can be killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from backbones.obtain import obtain
from engine.results import StageResult

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
sys.path.append(str(HERE))  # for the processes that start below, which take it over

from stage_process import run  # noqa: E402

MODULES = {
    "classification": "classification.pretrain",
    "detection": "detection.finetune",
    "segmentation": "segmentation.finetune",
}
SECONDS = 120


@pytest.fixture(scope="session")
def forks(request: pytest.FixtureRequest) -> ForkServerContext:
    """Processes that have imported already what takes seconds: torch and, for the slow tests,
    mmdet and mmseg."""
    slow = any(item.get_closest_marker("slow") for item in request.session.items)
    modules = ["stage_imports", "openmmlab_imports"] if slow else ["stage_imports"]
    before = {name: os.environ.get(name) for name in ("PYTHONPATH", "OMP_NUM_THREADS")}
    os.environ.update(PYTHONPATH=f"{ROOT}:{HERE}", OMP_NUM_THREADS="1")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(modules)
    from multiprocessing.forkserver import ensure_running

    ensure_running()
    for name, value in before.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    return context


@dataclass(kw_only=True)
class Stages:
    """Runs a stage on one benchmark, each run in a folder of its own."""

    forks: Any
    benchmark: Path
    artifact: Path
    folder: Path
    backbone: str = "resnet18d_mixup"
    recipes: Path | None = None
    running: list[BaseProcess] = field(default_factory=list)
    launched: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def argv(self, task: str, name: str) -> list[str]:
        place = self.folder / name
        place.mkdir(exist_ok=True)
        options: dict[str, Any] = {
            "benchmark": self.benchmark,
            "seed": 0,
            "work-dir": place / "work",
            "result": place / "result.json",
            "artifact": place / "artifact" if task == "classification" else self.artifact,
        }
        if task == "classification":
            options["backbone"] = self.backbone
            if self.recipes is not None:
                options["recipes"] = self.recipes
        return [word for key, value in options.items() for word in (f"--{key}", str(value))]

    def start(
        self,
        task: str,
        name: str,
        *more: str,
        processes: int = 1,
        kill_at: int | None = None,
        holds: int | Sequence[int | None] | None = None,
    ) -> list[BaseProcess]:
        """more: words of the command line. kill_at: of the first process, and holds, of each: see
        `stage_process.run`."""
        if not isinstance(holds, Sequence):
            holds = [holds] * processes
        argv, started = [*self.argv(task, name), *more], []
        port = str(_free_port())
        for rank in range(processes):
            environment = {"TRICKLE_CACHE": str(self.folder / "cache")}
            if processes > 1:
                environment.update(
                    RANK=str(rank),
                    LOCAL_RANK=str(rank),
                    WORLD_SIZE=str(processes),
                    MASTER_ADDR="127.0.0.1",
                    MASTER_PORT=port,
                )
            process = self.forks.Process(
                target=run,
                args=(
                    MODULES[task],
                    argv,
                    environment,
                    self.log(name, rank),
                    kill_at if rank == 0 else None,
                    holds[rank],
                ),
            )
            process.start()
            started.append(process)
        self.running += started
        return started

    def finish(self, task: str, name: str, *, processes: int = 1) -> StageResult:
        """Runs to the end, from where an earlier run of that name stopped."""
        for rank, process in enumerate(self.start(task, name, processes=processes)):
            process.join(SECONDS)
            assert process.exitcode == 0, self.log(name, rank).read_text()
        return StageResult.read(self.folder / name / "result.json")

    def seen(self, name: str, rank: int = 0) -> dict[str, Any]:
        """What a run that ended saw; see `stage_process.run`."""
        return json.loads(self.log(name, rank).with_suffix(".json").read_text())

    def killed_inside(self, task: str, name: str, *, at: int, processes: int = 1) -> None:
        """Runs until the first process kills itself; the others are killed as torchrun does."""
        first, *others = self.start(task, name, processes=processes, kill_at=at)
        first.join(SECONDS)
        assert first.exitcode == -9, self.log(name).read_text()
        for process in others:
            process.kill()
            process.join(SECONDS)

    def killed_outside(self, task: str, name: str, *, after: float, processes: int = 1) -> bool:
        """SIGKILL to all processes, `after` seconds from the first step on; False where they were
        faster."""
        started = self.start(task, name, processes=processes)
        self.wait_for_step(name, 1, started[0].is_alive)
        time.sleep(after)
        for process in started:
            process.kill()
        for process in started:
            process.join(SECONDS)
        return started[0].exitcode == -9

    def torchrun(
        self, task: str, name: str, *options: str, log_name: str | None = None
    ) -> subprocess.Popen[bytes]:
        """The stage under torchrun; by default in two processes of this machine."""
        command = [sys.executable, "-m", "torch.distributed.run"]
        command += options or ("--standalone", "--nproc-per-node", "2")
        command += ["-m", MODULES[task], *self.argv(task, name)]
        environment = {"TRICKLE_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        with open(log_name or self.log(name), "w") as log:
            process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environment}, stdout=log, stderr=log
            )
        self.launched.append(process)
        return process

    def wait_for_step(self, name: str, step: int, alive: Callable[[], bool]) -> None:
        """Until a step is done, or the process is not there any more."""
        deadline = time.monotonic() + SECONDS
        while f"step {step}/" not in self.log(name).read_text() and alive():
            assert time.monotonic() < deadline, self.log(name).read_text()
            time.sleep(0.01)

    def log(self, name: str, rank: int = 0) -> Path:
        file = self.folder / name / f"{rank}.log"
        file.touch()
        return file

    def end(self) -> None:
        for process in self.running:
            if process.is_alive():
                process.kill()
                process.join()
        for launcher in self.launched:
            if launcher.poll() is None:
                launcher.terminate()
                launcher.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


BUDGETS = {
    "pretraining": {"epoch_scale": 0.02, "workers": 1},  # 12 steps of 8 images
    "detection": {"iterations": 12, "workers": 1},
    "segmentation": {"iterations": 12, "workers": 1},
}


@pytest.fixture(scope="session")
def make_stages(
    forks: ForkServerContext, make_benchmark: Callable[..., Path]
) -> Iterator[Callable[..., Stages]]:
    """make_stages(folder, pretraining={...}) -> Stages on the squares, with those budgets."""
    made: list[Stages] = []

    def make(folder: Path, **changes: dict[str, Any]) -> Stages:
        budgets = {name: {**BUDGETS[name], **changes.get(name, {})} for name in BUDGETS}
        benchmark = make_benchmark(folder, **budgets)
        artifact = folder / "artifact"
        obtain("scratch:resnet18d", artifact, seed=0, width=0.125)
        stages = Stages(forks=forks, benchmark=benchmark, artifact=artifact, folder=folder)
        made.append(stages)
        return stages

    yield make
    for stages in made:
        stages.end()


@pytest.fixture
def free_port() -> int:
    return _free_port()


@pytest.fixture
def chance() -> random.Random:
    """Another one at each run of the tests; its seed stands in what a failure shows."""
    seed = random.SystemRandom().randrange(2**32)
    print(f"chance: {seed}")
    return random.Random(seed)
