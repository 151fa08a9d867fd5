"""docs/extending.md carried out in a copy: a trick, a backbone and a task are added and trained."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.docs.worked_examples import ROOT, Copy, commands, section

PAGE = (ROOT / "docs/extending.md").read_text()
NAMES = ("top", "middle", "bottom")
COLORS = ((40, 40, 220), (40, 220, 40), (220, 40, 40))


def load(name: str, file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


def trickle_commands(heading: str) -> list[str]:
    return [c for c in commands(section(PAGE, heading)) if c.startswith("trickle ")]


def test_the_trick_takes_the_colors_of_the_share_of_views_that_it_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    mine = load("mine", ROOT / "examples/trick/mine.py", monkeypatch)
    view = np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    grey = mine.grayscale(view)
    assert (grey == grey[..., :1]).all()
    by_opencv = cv2.cvtColor(view, cv2.COLOR_RGB2GRAY).astype(int)
    assert np.abs(grey[..., 0].astype(int) - by_opencv).max() <= 1
    trick, rng = mine.Grayscale(0.25), np.random.default_rng(1)
    changed = sum((trick.transform_view(view, rng) != view).any() for _ in range(2000))
    assert 430 <= changed <= 570  # 500, and 3.6 standard deviations of a binomial


def test_a_users_trick_is_shown() -> None:
    (shown, *_) = trickle_commands("A trick")
    assert re.search(r"grayscale.*0\.2", Copy.here().run(shown))


@pytest.mark.slow
def test_a_users_trick_trains_and_can_become_one_of_ours(
    tmp_path: Path, make_benchmark: Callable[..., Path]
) -> None:
    copy, file = Copy.make(tmp_path / "copy"), make_benchmark(tmp_path / "data")
    _, listed, run, as_ours = trickle_commands("A trick")
    assert "grayscale" in copy.run(listed)
    planned = copy.run(f"{run} --dry-run")
    assert planned.count("pretraining   resnet50d_gray ") == 3, planned
    small = "trickle pretrain --recipes examples/trick/mine.py --backbone resnet18b_gray"
    copy.run(f"{small} --benchmark {file} --out {tmp_path / 'out'}")
    (record,) = (tmp_path / "out/records").glob("*.json")
    assert "grayscale" in json.loads(record.read_text())["tricks"]
    copy.carry_out(section(PAGE, "A trick"))
    assert "grayscale" in copy.run(as_ours)
    copy.run("python -m eval.check_registries")


def test_the_backbone_gives_what_it_says_at_every_output_stride(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from backbones import catalog
    from backbones.create import create_backbone

    file = ROOT / "examples/backbone/backbones/plain_net.py"
    load("backbones.plain_net", file, monkeypatch)
    monkeypatch.setitem(catalog.CLASSES, "plain_net", "PlainNet")
    monkeypatch.setattr(catalog, "ARCHITECTURES", (*catalog.ARCHITECTURES, "plain_net"))
    images = torch.zeros(1, 3, 64, 64)
    for output_stride, strides in ((32, (4, 8, 16, 32)), (8, (4, 8, 8, 8))):
        made = create_backbone("plain_net", output_stride=output_stride, width=0.125).eval()
        assert made.features.channels == (8, 16, 32, 64)
        assert made.features.strides == strides
        assert [tuple(level.shape[1:]) for level in made(images)] == [
            (wide, 64 // stride, 64 // stride)
            for wide, stride in zip((8, 16, 32, 64), strides, strict=True)
        ]
    counts = [sum(p.numel() for p in made.parameters_until(stage)) for stage in range(5)]
    assert counts == sorted(counts)
    assert counts[4] == sum(p.numel() for p in made.parameters())
    # A dilated network samples the same function more densely: away from the border, every
    # fourth cell of C5 at stride 8 is that of stride 32.
    torch.manual_seed(0)
    images = torch.randn(1, 3, 288, 288)
    dense = create_backbone("plain_net", output_stride=8, width=0.125).eval()
    sparse = create_backbone("plain_net", output_stride=32, width=0.125).eval()
    sparse.load_state_dict(dense.state_dict())
    with torch.no_grad():
        fine, coarse = dense(images)[3], sparse(images)[3]
    inner = (fine[..., ::4, ::4] - coarse)[..., 3:-3, 3:-3]
    assert inner.abs().max() <= 1e-5 * coarse.abs().max()


@pytest.mark.slow
def test_the_backbone_is_pretrained_and_fine_tuned(
    tmp_path: Path, make_benchmark: Callable[..., Path]
) -> None:
    copy = Copy.make(tmp_path / "copy")
    copy.carry_out(section(PAGE, "A backbone"))
    file = make_benchmark(tmp_path / "data")
    planned, pretrain, run = trickle_commands("A backbone")
    where = f"--benchmark {file} --out {tmp_path / 'out'}"
    assert "plain_net_mixup" in copy.run(planned)
    copy.run(f"{pretrain} {where}")
    assert table(tmp_path / "out")["plain_net_mixup"]["top1"]["mean"] is not None
    # The control alone: a fine-tuning of random weights goes the same way, in half the time.
    copy.run(f"{run.replace('plain_net_mixup', 'scratch:plain_net')} {where}")
    metrics = table(tmp_path / "out")["scratch:plain_net"]
    assert all(metrics[name]["mean"] is not None for name in ("mAP", "mIoU"))


def test_the_task_is_planned(tmp_path: Path, make_benchmark: Callable[..., Path]) -> None:
    copy = Copy.make(tmp_path / "copy")
    copy.carry_out(section(PAGE, "A task"))
    file = keypoint_benchmark(tmp_path / "data", make_benchmark)
    planned = copy.run(
        f"trickle run --backbone scratch:resnet18b --tasks keypoints --benchmark {file} --dry-run"
    )
    assert "keypoints     scratch:resnet18b  seed 0" in planned


@pytest.mark.slow
def test_the_task_is_trained_and_its_number_stands_in_the_table(
    tmp_path: Path, make_benchmark: Callable[..., Path]
) -> None:
    from engine.evidence import read_evidence

    copy = Copy.make(tmp_path / "copy")
    copy.carry_out(section(PAGE, "A task"))
    file, out = keypoint_benchmark(tmp_path / "data", make_benchmark), tmp_path / "out"
    command = (
        f"trickle run --backbone scratch:resnet18b --tasks keypoints --benchmark {file} "
        f"--out {out} --seeds 0 1"
    )
    copy.run(command)
    cell = table(out)["scratch:resnet18b"]["PCK"]
    assert cell["n"] == 2
    assert "PCK" in (out / "table.md").read_text()
    found = []
    for path in (out / "evidence").rglob("*.safetensors"):
        evidence = read_evidence(path)
        points, predicted = evidence.arrays["points"], evidence.arrays["predicted"]
        # By hand: a tenth of the box's longer side, which is 1 / 1.25 of the crop's.
        near = [
            np.hypot(*(predicted[i, k] - points[i, k, :2])) <= 0.08
            for i in range(len(points))
            for k in range(len(NAMES))
            if points[i, k, 2] > 0
        ]
        found.append(100 * np.mean(near))
    assert len(found) == 2
    assert cell["mean"] == pytest.approx(np.mean(found), abs=1e-4)
    # Colored dots anywhere in a box: a guess in its middle would find some 6% of them.
    assert cell["mean"] > 25, cell
    copy.run(command)  # nothing is left to do
    assert len(list((out / "records").glob("*.json"))) == 2


def table(out: Path) -> dict[str, Any]:
    rows = json.loads((out / "table.json").read_text())["rows"]
    return {row["backbone"]: row["metrics"] for row in rows}


def keypoint_benchmark(folder: Path, make_benchmark: Callable[..., Path]) -> Path:
    """The tests' squares, and people that are three colored dots in a box, as COCO writes them."""
    file = make_benchmark(folder)
    rng = np.random.default_rng(0)
    for split, count in (("train2017", 32), ("val2017", 12)):
        (folder / "coco" / split).mkdir(parents=True)
        images, annotations = [], []
        for number in range(count):
            image = np.full((64, 80, 3), 120, np.uint8)
            points: list[int] = []
            for place, color in enumerate(COLORS):
                seen = (number + place) % 7 > 0  # some are not labelled: 0, 0, 0
                x, y = rng.integers(14, 66), rng.integers(8, 56)
                cv2.circle(image, (int(x), int(y)), 4, color, -1)
                points += [int(x), int(y), 2] if seen else [0, 0, 0]
            cv2.imwrite(str(folder / "coco" / split / f"{number:012}.jpg"), image)
            size = {"width": 80, "height": 64}
            images.append({"id": 1000 + number, "file_name": f"{number:012}.jpg", **size})
            annotations.append(
                {
                    "id": number,
                    "image_id": 1000 + number,
                    "category_id": 1,
                    "bbox": [10, 4, 60, 56],
                    "iscrowd": 0,
                    "num_keypoints": sum(v > 0 for v in points[2::3]),
                    "keypoints": points,
                }
            )
        category = {"id": 1, "name": "person", "keypoints": NAMES}
        content = {"images": images, "annotations": annotations, "categories": [category]}
        (folder / "coco/annotations").mkdir(exist_ok=True)
        name = f"person_keypoints_{split}.json"
        (folder / "coco/annotations" / name).write_text(json.dumps(content))
    with file.open("a") as toml:
        toml.write(
            f"[keypoints]\nroot = 'coco'\ntrain = 'train2017'\ntest = 'val2017'\n"
            f"keypoints = {list(NAMES)}\nimage_size = 64\niterations = 120\nbatch_size = 8\n"
            "learning_rate = 0.1\nhead_channels = 16\nworkers = 0\n"
        )
    return file
