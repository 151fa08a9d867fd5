"""Whatever happens while a checkpoint is written, one that loads is there."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from mmengine.hooks import Hook
from torch import nn

from backbones import atomic
from backbones.atomic import NoSpace
from engine import checkpoints
from engine import runner as runner_module
from engine.checkpoint_file import read_checkpoint
from engine.checkpoints import latest_checkpoint
from engine.runner import QuietRunner
from engine.stage import run_stage

MakeRunner = Callable[..., QuietRunner]
MIB = 2**20


def fake_runner(work_dir: Path, *, mebibytes: float = 1.0) -> Any:
    """Has what is saved, and weights that all have the number of the step."""
    model = nn.Linear(int(mebibytes * MIB / 4), 1, bias=False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return SimpleNamespace(
        work_dir=str(work_dir), model=model, optim_wrapper=optimizer, param_schedulers=None,
        iter=0, epoch=0, remarks="", choices={}, call_hook=lambda *_, **__: None,
    )  # fmt: skip


def save_step(runner: Any, step: int) -> None:
    runner.iter = step
    with torch.no_grad():
        runner.model.weight.fill_(step)
    checkpoints.save(runner, seconds=0.0)


def assert_loads(work_dir: Path) -> int:
    """The newest checkpoint is whole: its weights all belong to its step. Gives the step."""
    path = latest_checkpoint(work_dir)
    assert path is not None
    step = int(path.stem.removeprefix("iter_"))
    (weights,) = read_checkpoint(path)["state_dict"].values()
    assert (weights == step).all()
    return step


def save_forever(work_dir: Path) -> None:
    torch.set_num_threads(1)  # a forked process would wait for its parent's
    runner, step = fake_runner(work_dir), int(latest_checkpoint(work_dir).stem[5:])
    while True:
        step += 1
        save_step(runner, step)


def kill_while_saving(work_dir: Path, kills: int) -> tuple[int, int]:
    """Gives how many kills left a temporary file, and the last step."""
    rng = random.Random(5)
    save_step(fake_runner(work_dir), 1)
    before, step = 0, 1
    for _ in range(kills):
        process = multiprocessing.get_context("fork").Process(target=save_forever, args=[work_dir])
        process.start()
        while latest_checkpoint(work_dir).name == f"iter_{step}.safetensors":
            time.sleep(0.0005)
        time.sleep(rng.uniform(0, 0.03))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        before += bool(list(work_dir.glob(".*")))
        new = assert_loads(work_dir)
        assert new >= step
        step = new
        checkpoints.remove_unfinished(work_dir)
        assert list(work_dir.glob(".*")) == []
    save_step(fake_runner(work_dir), step + 1)
    assert len(list(work_dir.iterdir())) == 2, "what the killed ones did not tidy up is gone"
    return before, step


@pytest.mark.reliability(3, "SIGKILL while a checkpoint is being saved leaves one that loads.")
def test_a_kill_while_saving_leaves_a_checkpoint(
    tmp_path: Path, measured: Callable[[str], None]
) -> None:
    midway, step = kill_while_saving(tmp_path, kills=25)
    assert midway > 0, "no kill hit a write"
    measured(f"25 kills in {step} saves, {midway} in the middle of a file, 0 unreadable")


@pytest.mark.parametrize("call", ["fsync", "replace", "after replace"])
def test_a_kill_at_each_point_of_a_save(tmp_path: Path, call: str) -> None:
    def save_and_die() -> None:
        torch.set_num_threads(1)
        name = call.removeprefix("after ")
        real = getattr(os, name)

        def die(*arguments: Any) -> None:
            if call.startswith("after"):
                real(*arguments)
            os.kill(os.getpid(), signal.SIGKILL)

        setattr(os, name, die)
        save_step(fake_runner(tmp_path), 2)

    save_step(fake_runner(tmp_path), 1)
    process = multiprocessing.get_context("fork").Process(target=save_and_die)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert assert_loads(tmp_path) == (2 if call.startswith("after") else 1)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 5 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(folder)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.reliability(
    3,
    "On a full disk the old checkpoint still loads, nothing is left behind, and the message has "
    "the path, the needed and the free bytes.",
)
def test_a_full_disk_leaves_the_old_checkpoint(
    small_disk: Path, capfd: pytest.CaptureFixture[str], measured: Callable[[str], None]
) -> None:
    runner = fake_runner(small_disk, mebibytes=2)

    def train(argv: list[str] | None) -> None:
        for step in (1, 2, 3):
            save_step(runner, step)

    assert run_stage(train) == 1
    out, err = capfd.readouterr()
    assert out == ""
    (line,) = err.splitlines()
    needed, free = (int(n.replace(",", "")) for n in re.findall(r"(\d[\d,]+) bytes", line))
    assert line.startswith(f"error: {small_disk}/iter_3.safetensors cannot be written (No space")
    assert 2 * MIB < needed < 2 * MIB + 4096
    assert free < MIB
    assert "run the same command again" in line
    assert assert_loads(small_disk) == 2
    assert sorted(path.name for path in small_disk.iterdir()) == [
        "iter_1.safetensors",
        "iter_2.safetensors",
    ]
    measured(f"tmpfs of 5 MiB, {needed:,} bytes needed, {free:,} free")


def test_a_disk_that_fills_up_is_a_message_for_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "record.json"
    path.write_text("old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoSpace, match=r"record\.json cannot be written .* 3 bytes are needed"):
        atomic.write_text_atomic(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["record.json"]


OPTIONS = {"steps": 12, "checkpoint_interval": 4, "ema_decay": 0.9}


def finished_state(runner: QuietRunner) -> dict[str, torch.Tensor]:
    runner.train()
    return {name: tensor.clone() for name, tensor in runner.model.state_dict().items()}


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.mark.reliability(
    4, "A damaged checkpoint is set aside; the training goes on from the one before and says so."
)
@pytest.mark.parametrize("damaged", [1, 2], ids=["the newest", "all"])
def test_a_resume_falls_back(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    measured: Callable[[str], None],
    damaged: int,
) -> None:
    expected = finished_state(make_runner(tmp_path, toy(dropout=0.3), **OPTIONS))
    newest_first = checkpoints.checkpoints(tmp_path)
    assert [path.name for path in newest_first] == ["iter_12.safetensors", "iter_8.safetensors"]
    for path in newest_first[:damaged]:
        flip(path, path.stat().st_size // 2)
    capfd.readouterr()
    runner = make_runner(tmp_path, toy(dropout=0.3), **OPTIONS)
    state = finished_state(runner)
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    said = capfd.readouterr().err.splitlines()[0]
    assert "iter_12.safetensors is damaged" in said
    assert "set aside as iter_12.safetensors.damaged" in said
    assert ("went on from step 8" if damaged == 1 else "started anew") in said
    assert runner.notes == (said.strip(),)
    again = make_runner(tmp_path, toy(dropout=0.3), **OPTIONS)
    again.train()
    assert again.notes == runner.notes, "the result of a later resume says it too"
    assert len(list(tmp_path.glob("*.damaged"))) == damaged
    measured(f"{damaged} of 2 damaged: the same weights in the end")


def be_a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def be_a_loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


@pytest.mark.reliability(
    4, "A checkpoint that cannot be read is set aside as a damaged one is, and that is said."
)
@pytest.mark.parametrize("change", [be_a_folder, be_a_loop])
def test_a_resume_falls_back_from_what_cannot_be_read(
    make_runner: MakeRunner,
    toy: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    measured: Callable[[str], None],
    change: Callable[[Path], None],
) -> None:
    expected = finished_state(make_runner(tmp_path, toy(), **OPTIONS))
    newest = checkpoints.checkpoints(tmp_path)[0]
    change(newest)
    capfd.readouterr()
    state = finished_state(make_runner(tmp_path, toy(), **OPTIONS))
    for name, tensor in expected.items():
        assert torch.equal(state[name], tensor), name
    said = capfd.readouterr().err.splitlines()[0]
    assert f"{newest} cannot be read" in said
    assert "set aside as iter_12.safetensors.damaged; the training went on from step 8" in said
    assert newest.is_file()
    measured("the same weights in the end")


def test_a_checkpoint_of_another_model_is_an_error(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    make_runner(tmp_path, toy(), steps=2).train()
    other = toy()
    other.body[3] = nn.Linear(8, 1)
    with pytest.raises(ValueError, match=r"iter_2\.safetensors is of another model"):
        make_runner(tmp_path, other, steps=2).train()


def test_what_a_killed_run_left_is_removed(
    make_runner: MakeRunner, toy: Any, tmp_path: Path
) -> None:
    left = tmp_path / ".iter_7.safetensors.tmp-0123456789ab"
    left.write_bytes(b"half")
    make_runner(tmp_path, toy(), steps=2)
    assert not left.exists()


@pytest.mark.reliability(1, "What a SIGKILL costs is bounded: no checkpoint gets old.")
def test_no_checkpoint_gets_old(
    make_runner: MakeRunner, toy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    measured: Callable[[str], None],
) -> None:  # fmt: skip
    assert runner_module.SAVE_SECONDS <= 300
    measured(f"saved every {runner_module.SAVE_SECONDS:.0f} s, whatever the interval in steps")
    monkeypatch.setattr(runner_module, "SAVE_SECONDS", 0.6)

    class SlowSteps(Hook):
        def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            time.sleep(0.35)

    steps = {}
    for name, hooks in (("fast", []), ("slow", [SlowSteps()])):
        options = dict(steps=9, accumulate=3, checkpoint_interval=9, hooks=hooks)
        make_runner(tmp_path / name, toy(), **options).train()
        steps[name] = [path.stem for path in checkpoints.checkpoints(tmp_path / name)]
    assert steps == {"fast": ["iter_9"], "slow": ["iter_9", "iter_6"]}
