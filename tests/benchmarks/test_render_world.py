"""Rendering: the same files everywhere, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import ade20k_layout, imagenet_layout, voc_layout
from benchmarks.dataset_files import StageData
from benchmarks.imagenet_layout import read_index
from benchmarks.mini_world import render_world as module
from benchmarks.mini_world.kinds import CLASSES
from benchmarks.mini_world.render_world import render_world
from benchmarks.mini_world.version import world_digest
from benchmarks.seal import check_seal
from benchmarks.voc_layout import read_image_set
from benchmarks.world_spec import WorldSpec


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("world.json", "content.json")
    }


def test_all_three_layouts_are_there_and_whole(
    check: Callable[[StageData], tuple[str, ...]], world: Path, world_spec: WorldSpec
) -> None:
    assert check(imagenet_layout.stage_data(world / "imagenet")) == ()
    splits = ["VOC2007/trainval", "VOC2007/test"]
    assert check(voc_layout.stage_data(world / "VOCdevkit", splits, CLASSES)) == ()
    assert check(ade20k_layout.stage_data(world / "ADEChallengeData2016", CLASSES)) == ()
    assert [len(read_index(world / "imagenet", s).samples) for s in ("train", "val")] == [20, 10]
    sets = [read_image_set(world / "VOCdevkit", f"VOC2007/{s}") for s in ("trainval", "test")]
    assert [len(ids) for ids in sets] == [8, 4]
    assert not set(sets[0]) & set(sets[1])
    size = world_spec.segmentation.image_size
    for path in (world / "ADEChallengeData2016").rglob("*.*"):
        assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape[:2] == (size, size)


def test_every_class_has_as_many_images(world: Path) -> None:
    index = read_index(world / "imagenet", "train")
    assert set(index.classes) == set(CLASSES)
    assert np.bincount([label for _, label in index.samples]).tolist() == [2] * 10


def test_the_number_of_processes_changes_nothing(
    world: Path, world_spec: WorldSpec, tmp_path: Path
) -> None:
    render_world(world_spec, tmp_path / "again", processes=2)
    assert contents(tmp_path / "again") == contents(world)


def test_an_image_depends_on_its_index_alone(
    world: Path, world_spec: WorldSpec, tmp_path: Path
) -> None:
    fewer = world_spec.model_copy(
        update={"detection": world_spec.detection.model_copy(update={"train": 3, "test": 2})}
    )
    render_world(fewer, tmp_path / "fewer", processes=1)
    some, everything = contents(tmp_path / "fewer"), contents(world)
    changed = {name for name in some if some[name] != everything[name]}
    assert len(some) < len(everything)
    assert {Path(name).parent.name for name in changed} == {"Main"}  # the lists


def test_another_seed_gives_other_images(
    world: Path, world_spec: WorldSpec, tmp_path: Path
) -> None:
    render_world(world_spec.model_copy(update={"seed": 1}), tmp_path / "other", processes=1)
    one, other = contents(world), contents(tmp_path / "other")
    assert one.keys() == other.keys()
    images = [name for name in one if name.lower().endswith(("jpg", "jpeg"))]
    assert not any(one[name] == other[name] for name in images)


def test_no_two_images_are_alike(world: Path) -> None:
    images = [digest for name, digest in contents(world).items() if name.endswith(("G", "jpg"))]
    assert len(set(images)) == len(images)


def test_a_failure_leaves_nothing_and_the_next_call_succeeds(
    world_spec: WorldSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(module, "render_part", fail)
        with pytest.raises(OSError, match="No space left"):
            render_world(world_spec, tmp_path / "world", processes=1)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_run_left_is_removed(
    world: Path, world_spec: WorldSpec, tmp_path: Path
) -> None:
    left = tmp_path / "world.partial" / "imagenet" / "train" / "ghost"
    left.mkdir(parents=True)
    render_world(world_spec, tmp_path / "world", processes=1)
    assert contents(tmp_path / "world") == contents(world)
    assert [path.name for path in tmp_path.iterdir()] == ["world"]
    check_seal(tmp_path / "world")


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_call_leaves_no_process_and_no_world(
    how: signal.Signals, tmp_path: Path
) -> None:
    code = (
        "import sys; from pathlib import Path; from benchmarks.schema import load_benchmark; "
        "from benchmarks.mini_world.render_world import render_world; "
        "render_world(load_benchmark('mini').world, Path(sys.argv[1]), processes=2)"
    )
    run = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "world")],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    waited_for(lambda: any(tmp_path.rglob("*.xml")))
    if how is signal.SIGINT:
        os.killpg(run.pid, how)  # as a terminal does
    else:
        run.kill()
    assert run.wait(timeout=60) != 0
    waited_for(lambda: not members(run.pid))
    assert not (tmp_path / "world").exists()
    if how is signal.SIGINT:
        assert list(tmp_path.iterdir()) == []


def members(group: int) -> list[int]:
    """The living processes of a process group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            state, _, process_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(process_group) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found


def waited_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_digest_follows_the_specification(world_spec: WorldSpec) -> None:
    harder = world_spec.difficulty.model_copy(update={"occlusion": 0.5})
    specs = [world_spec, world_spec.model_copy(update={"difficulty": harder})]
    assert len({world_digest(spec) for spec in specs}) == 2
    assert world_digest(world_spec) == world_digest(world_spec.model_copy())
