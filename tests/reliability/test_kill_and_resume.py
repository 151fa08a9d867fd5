"""A run that is killed at any moment and goes on ends in the same bits as one never killed."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoint_file import read_checkpoint
from engine.checkpoints import latest_checkpoint
from engine.results import StageResult

AVERAGED = """
from classification.recipes.bag_of_tricks import mixup
from classification.tricks import EMA

RECIPES = {"averaged": mixup | EMA(0.999)}
"""


def final(folder: Path, name: str) -> dict[str, Any]:
    file = latest_checkpoint(folder / name / "work")
    assert file is not None
    state = read_checkpoint(file)
    del state["meta"]["seconds"]
    return state


def tensors(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """Every leaf of nested containers by its path."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from tensors(item, f"{where}/{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors(item, f"{where}/{index}")
    else:
        yield where, value


def differing(a: Any, b: Any) -> list[str]:
    first, second = dict(tensors(a)), dict(tensors(b))
    assert first.keys() == second.keys()
    return [
        path
        for path, value in first.items()
        if not (
            torch.equal(value, second[path])
            if isinstance(value, torch.Tensor)
            else value == second[path]
        )
    ]


def numbers(result: StageResult) -> dict[str, Any]:
    return result.model_dump(include={"status", "metrics", "per_class", "protocol"})


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for file in tasks for child in file.read_text().split()]


@pytest.fixture(scope="module")
def stages(make_stages: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("killed")
    (folder / "averaged.py").write_text(AVERAGED)
    made = make_stages(folder)
    made.backbone, made.recipes = "resnet18d_averaged", folder / "averaged.py"
    return made


@pytest.fixture(scope="module")
def untouched(stages: Any) -> Callable[..., tuple[StageResult, int, float]]:
    """The run that is never killed, once for each task: its result, the calls of its hooks and
    the seconds from its first step to its end."""
    done: dict[tuple[str, int], tuple[StageResult, int, float]] = {}

    def get(task: str, processes: int = 1) -> tuple[StageResult, int, float]:
        if (task, processes) not in done:
            name = f"{task}-{processes}-whole"
            result = stages.finish(task, name, processes=processes)
            calls = stages.seen(name)["calls"]
            done[task, processes] = (result, calls, result.cost["seconds"])
        return done[task, processes]

    return get


def kill_and_resume(
    stages: Any,
    untouched: Any,
    task: str,
    *,
    kills: int,
    chance: random.Random,
    processes: int = 1,
) -> tuple[list[str], int]:
    """As many runs, each killed once, every second one from outside: what differs from the run that
    was never killed, and how many values were compared."""
    whole, calls, seconds = untouched(task, processes)
    reference = final(stages.folder, f"{task}-{processes}-whole")
    compared = killed = 0
    differences: list[str] = []
    for attempt in range(2 * kills):  # a run may be faster than its killer
        if killed == kills:
            break
        name = f"{task}-{processes}-killed{attempt}-{time.monotonic_ns()}"
        if attempt % 2:
            after = chance.uniform(0, 0.5 * seconds)
            killed += stages.killed_outside(task, name, after=after, processes=processes)
            where = f"after {after:.2f} s"
        else:
            at = chance.randint(1, calls)
            stages.killed_inside(task, name, at=at, processes=processes)
            where = f"at hook {at} of {calls}"
            killed += 1
        result = stages.finish(task, name, processes=processes)
        state = final(stages.folder, name)
        differences += [f"{name}, killed {where}" for name in differing(state, reference)]
        if numbers(result) != numbers(whole):
            differences.append(f"metrics, killed {where}")
        compared += len(list(tensors(state)))
    assert killed == kills
    return differences, compared


@pytest.mark.slow  # the fast ones: tests/engine/test_resume.py
@pytest.mark.reliability(
    1, "a pretraining killed at any moment ends in the bits of one never killed"
)
def test_pretraining(
    stages: Any, untouched: Any, chance: random.Random, measured: Callable[[str], None]
) -> None:
    """Killed twice in one run: from outside, then by itself where it goes on."""
    whole, calls, seconds = untouched("classification")
    for attempt in range(4):  # a run may be faster than its killer
        name = f"twice-killed{attempt}"
        after, at = chance.uniform(0, 0.5 * seconds), chance.randint(1, calls // 4)
        if stages.killed_outside("classification", name, after=after):
            (process,) = stages.start("classification", name, kill_at=at)
            process.join(120)
            if process.exitcode == -9:
                break
    else:
        pytest.fail("no run was slower than its killers")
    result = stages.finish("classification", name)
    state = final(stages.folder, name)
    assert differing(state, final(stages.folder, "classification-1-whole")) == []
    assert numbers(result) == numbers(whole)
    measured(f"classification: 2 kills, 0 of {len(list(tensors(state)))} values differ")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.reliability(1, "a stage killed at any moment ends in the bits of one never killed")
@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_every_stage(
    stages: Any,
    untouched: Any,
    chance: random.Random,
    measured: Callable[[str], None],
    task: str,
) -> None:
    found, compared = kill_and_resume(stages, untouched, task, kills=10, chance=chance)
    assert found == []
    measured(f"{task}: 10 kills, 0 of {compared} values differ")


@pytest.mark.slow
@pytest.mark.distributed
@pytest.mark.timeout(900)
@pytest.mark.reliability(
    1, "two processes killed at any moment end in the bits of two never killed"
)
@pytest.mark.parametrize("task", ["classification", "detection", "segmentation"])
def test_two_processes(
    stages: Any,
    untouched: Any,
    chance: random.Random,
    measured: Callable[[str], None],
    task: str,
) -> None:
    kills = {"classification": 4}.get(task, 2)
    found, compared = kill_and_resume(
        stages, untouched, task, kills=kills, chance=chance, processes=2
    )
    assert found == []
    measured(f"{task}: {kills} kills, 0 of {compared} values differ")


@pytest.mark.distributed
@pytest.mark.reliability(1, "where one of two processes is killed, torchrun ends the other")
@pytest.mark.slow
def test_torchrun_ends_all_where_one_is_killed(
    stages: Any, untouched: Any, measured: Callable[[str], None]
) -> None:
    whole, *_ = untouched("classification", 2)
    name = "torchrun"
    started = stages.torchrun("classification", name)
    stages.wait_for_step(name, 3, lambda: started.poll() is None)
    first, second = children(started.pid)
    os.kill(second, signal.SIGKILL)
    before = time.monotonic()
    assert started.wait(60) != 0
    seconds = time.monotonic() - before
    assert not any(Path(f"/proc/{pid}").exists() for pid in (first, second))
    again = stages.torchrun("classification", name)
    assert again.wait(120) == 0, stages.log(name).read_text()
    result = StageResult.read(stages.folder / name / "result.json")
    assert numbers(result) == numbers(whole)
    assert (
        differing(final(stages.folder, name), final(stages.folder, "classification-2-whole")) == []
    )
    measured(f"the other ended {seconds:.1f} s after the kill")
