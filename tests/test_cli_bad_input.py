"""What a user can get wrong, through the real command: named, before anything is trained."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
ANNOTATION = "VOCdevkit/VOC2007/Annotations/trainval4.xml"


def run(folder: Path, *arguments: str) -> tuple[int, str, float]:
    """Exit code, standard error, and the seconds of CPU that it took, in an empty directory."""
    work = folder / "work"
    work.mkdir(exist_ok=True)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, str(ROOT / "eval/run_transfer.py"), *arguments],
        cwd=work,
        env={**os.environ, "TRICKLE_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(work.rglob("*.log")), "nothing was begun"
    assert not list(work.rglob("artifacts")), "nothing was begun"
    return done.returncode, done.stderr, seconds


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--backbone", "resnet50d_mixpu"], ["'mixpu'", "mixup", "mixup_distill"]),
        (["--backbone", "resnet51d_mixup"], ["resnet51d", "resnet50d"]),
        (["--backbone", "resnet50_mixup"], ["resnet50", "resnet50d"]),
        (["--backbone", "scratch:resnet18e"], ["resnet18e", "resnet18d"]),
        (["--backbone", "resnet50x_*"], ["resnet50x_*", "resnet50"]),
        (["--backbone", "resnet50d_mixup", "--benchmark", "minni"], ["'minni'", "mini", "paper"]),
        (["--backbone", "resnet50d_mixup", "--benchmark", "my.toml"], ["my.toml", "mini"]),
        (["--backbone", "resnet50d_mixup", "--tasks", "detektion"], ["detektion", "detection"]),
        ([], ["--backbone"]),
    ],
)
def test_unknown_names_bring_the_nearest_at_once(
    arguments: list[str], said: list[str], tmp_path: Path
) -> None:
    code, error, seconds = run(tmp_path, *arguments)
    assert code == 2
    assert [word for word in said if word not in error] == []
    assert seconds < 2
    assert len(error.splitlines()) < 15


def test_a_wrong_key_in_a_benchmark_file(make_benchmark: Any, tmp_path: Path) -> None:
    toml = make_benchmark(tmp_path, detection={"itterations": 5})
    code, error, _ = run(tmp_path, "--backbone", "resnet18d_mixup", "--benchmark", str(toml))
    assert code == 2
    for word in (str(toml), "detection.itterations", "iterations"):
        assert word in error


def remove(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        path = folder / name
        path.rename(path.with_name("elsewhere"))

    return act


def cut(name: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])

    return act


def replace(name: str, old: str, new: str) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return act


def redraw(name: str, value: int) -> Callable[[Path], None]:
    def act(folder: Path) -> None:
        import cv2

        mask = cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED)
        mask[0, 0] = value
        cv2.imwrite(str(folder / name), mask)

    return act


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(remove("imagenet"), ["imagenet", "train/<class>/"], id="no folder"),
        pytest.param(remove("imagenet/val"), ["imagenet/val", "val/<class>/"], id="no split"),
        pytest.param(
            remove("VOCdevkit/VOC2007/JPEGImages"),
            ["VOC2007/JPEGImages", "<year>/JPEGImages/*.jpg"],
            id="no images",
        ),
        pytest.param(
            remove("VOCdevkit/VOC2007/JPEGImages/test2.jpg"),
            ["JPEGImages/test2.jpg"],
            id="no image",
        ),
        pytest.param(
            remove("ADEChallengeData2016/annotations/training"),
            ["annotations/training", "ADE20K"],
            id="no masks",
        ),
        pytest.param(
            cut("imagenet/train/green/5.jpg"),
            ["imagenet/train/green/5.jpg", "truncated"],
            id="truncated image",
        ),
        pytest.param(
            cut("ADEChallengeData2016/annotations/training/2.png"),
            ["annotations/training/2.png", "truncated"],
            id="truncated mask",
        ),
        pytest.param(
            replace(ANNOTATION, "<xmin>", "<xmin>9"),
            [ANNOTATION, "outside its image of 64x60"],
            id="a box outside its image",
        ),
        pytest.param(
            replace(ANNOTATION, "<object><name>", "<object><name>horse-"),
            [ANNOTATION, "'horse-", "blue, green, red"],
            id="unknown class",
        ),
        pytest.param(
            redraw("ADEChallengeData2016/annotations/training/2.png", 4),
            ["annotations/training/2.png", "index 4", "3 classes"],
            id="unknown index",
        ),
    ],
)
def test_bad_data_is_named_before_any_training(
    harm: Callable[[Path], None], said: list[str], make_benchmark: Any, tmp_path: Path
) -> None:
    toml = make_benchmark(tmp_path)
    harm(tmp_path)
    code, error, _ = run(tmp_path, "--backbone", "resnet18d_mixup", "--benchmark", str(toml))
    assert code == 2
    assert [word for word in said if word not in error] == []
    assert str(tmp_path) in error, "the whole path, so that it can be found"
    assert len(error.splitlines()) <= 3
