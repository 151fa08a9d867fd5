"""What tests of several folders share: a tiny benchmark on disk, and mmengine's memory wiped."""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

pytest_plugins = ["tests.reliability_report"]

# A shell that starts something in the background has it ignore Ctrl-C, and what the tests start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

LONGEST = (
    "test_end_to_end.py",
    "test_detection_finetune.py",
    "test_segmentation_finetune.py",
    "test_two_processes.py",
    "test_concurrency.py",
    "test_out_of_memory.py",
    "test_cli.py",
    "test_pretraining.py",
    "test_page_in_browser.py",
)
"""Files that take long with few tests: begun first, or a process is left with one at the end."""

COLORS = {"blue": (40, 60, 220), "green": (40, 200, 60), "red": (220, 50, 40)}

BUDGETS: dict[str, dict[str, Any]] = {
    "backbone": {"width": 0.125},
    "pretraining": {
        "root": "imagenet",
        "image_size": 32,
        "resize_size": 36,
        "epoch_scale": 0.01,  # 200 epochs of 24 images in batches of 8: 6 steps
        "batch_size_scale": 0.0078125,
        "learning_rate_scale": 0.1,
        "workers": 0,
    },
    "detection": {
        "root": "VOCdevkit",
        "train": ["VOC2007/trainval"],
        "test": "VOC2007/test",
        "classes": list(COLORS),
        "image_size": [64, 64],
        "iterations": 4,
        "batch_size": 2,
        "learning_rate": 0.01,
        "anchor_scale": 4,
        "fpn_channels": 16,
        "head_channels": 32,
        "rpn_proposals": 50,
        "rois_per_image": 32,
        "workers": 0,
    },
    "segmentation": {
        "root": "ADEChallengeData2016",
        "classes": list(COLORS),
        "image_size": [48, 48],
        "crop_size": [48, 48],
        "iterations": 4,
        "batch_size": 2,
        "learning_rate": 0.01,
        "head_channels": 16,
        "workers": 0,
    },
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole files go to the processes of tests in this order: long ones, then large ones."""
    sizes = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        name = item.path.name
        return (LONGEST.index(name) if name in LONGEST else len(LONGEST)), -sizes[item.path]

    items.sort(key=place)  # stable: within a file nothing changes


def _scene(rng: Any, *, height: int, width: int, labels: Any) -> tuple[Any, list[tuple[int, ...]]]:
    """Colored squares on grey noise: the RGB image, and (class, x1, y1, x2, y2) of each."""
    import numpy as np

    image = rng.integers(90, 160, (height, width, 1)).repeat(3, axis=2)
    squares, room = [], width // len(labels)
    for column, label in enumerate(labels):  # side by side, so that none hides another
        side = int(rng.integers(14, 21))
        x = column * room + int(rng.integers(room - side))
        y = int(rng.integers(height - side))
        noise = rng.integers(-30, 31, (side, side, 3))
        image[y : y + side, x : x + side] = list(COLORS.values())[label] + noise
        squares.append((label, x, y, x + side, y + side))
    return np.clip(image, 0, 255).astype(np.uint8), squares


def _write_imagenet(root: Path, rng: Any) -> None:
    import cv2

    for split, per_class in (("train", 8), ("val", 3)):
        for label, name in enumerate(COLORS):
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(per_class):
                image, _ = _scene(rng, height=36, width=40, labels=[label])
                cv2.imwrite(str(folder / f"{index}.jpg"), image[:, :, ::-1])


def _write_voc(root: Path, rng: Any) -> None:
    import cv2

    year = root / "VOC2007"
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (year / folder).mkdir(parents=True)
    for split, count in (("trainval", 10), ("test", 5)):
        names = [f"{split}{index}" for index in range(count)]
        (year / "ImageSets/Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for index, name in enumerate(names):
            image, squares = _scene(rng, height=60, width=64, labels=rng.integers(3, size=2))
            cv2.imwrite(str(year / "JPEGImages" / f"{name}.jpg"), image[:, :, ::-1])
            objects = "".join(
                f"<object><name>{list(COLORS)[label]}</name>"
                f"<difficult>{int(n == 1 and index % 3 == 0)}</difficult>"
                f"<bndbox><xmin>{x1 + 1}</xmin><ymin>{y1 + 1}</ymin>"
                f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\n"
                for n, (label, x1, y1, x2, y2) in enumerate(squares)
            )
            (year / "Annotations" / f"{name}.xml").write_text(
                "<annotation><size><width>64</width><height>60</height><depth>3</depth></size>\n"
                f"{objects}</annotation>\n"
            )


def _write_ade20k(root: Path, rng: Any) -> None:
    import cv2
    import numpy as np

    for split, count in (("training", 8), ("validation", 4)):
        for part in ("images", "annotations"):
            (root / part / split).mkdir(parents=True)
        for index in range(count):
            image, squares = _scene(rng, height=40, width=48, labels=rng.integers(3, size=2))
            mask = np.zeros(image.shape[:2], np.uint8)
            for label, x1, y1, x2, y2 in squares:
                mask[y1:y2, x1:x2] = label + 1
            cv2.imwrite(str(root / "images" / split / f"{index}.jpg"), image[:, :, ::-1])
            cv2.imwrite(str(root / "annotations" / split / f"{index}.png"), mask)


@pytest.fixture(scope="module", autouse=True)
def _old_things_are_no_garbage() -> None:
    """What was imported or collected before this file stays to the end, and no search for garbage
    goes through it: every training ends in a `gc.collect`, whose time it would be."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def make_benchmark() -> Callable[..., Path]:
    """make_benchmark(folder, detection={"iterations": 2}) -> the benchmark's TOML file.

    Writes colored squares in the three layouts, the same in each call, into `folder`; what is
    given changes the tables of the file.
    """

    def make(folder: Path, **changes: dict[str, Any]) -> Path:
        import numpy as np

        _write_imagenet(folder / "imagenet", np.random.default_rng(1))
        _write_voc(folder / "VOCdevkit", np.random.default_rng(2))
        _write_ade20k(folder / "ADEChallengeData2016", np.random.default_rng(3))
        return write_budgets(folder / "squares.toml", changes)

    def write_budgets(file: Path, changes: dict[str, dict[str, Any]]) -> Path:
        tables = deepcopy(BUDGETS)
        for name, values in changes.items():
            tables[name].update(values)
        lines = []
        for name, table in tables.items():
            lines += [f"[{name}]", *(f"{k} = {json.dumps(v)}" for k, v in table.items())]
        file.write_text("\n".join(lines) + "\n")
        return file

    return make


_FINETUNE = """
import importlib, shutil, sys
from pathlib import Path
module, artifact, benchmark, folder, *jobs = sys.argv[1:]
main = importlib.import_module(module).main
for name, seed in zip(jobs[::2], jobs[1::2]):
    if name == "resumed":
        shutil.copytree(f"{folder}/{jobs[0]}/work", f"{folder}/{name}/work")
        (last,) = Path(folder, name, "work").glob("iter_10.*")
        last.unlink()
    main(
        ["--artifact", artifact, "--benchmark", benchmark, "--seed", seed]
        + ["--work-dir", f"{folder}/{name}/work", "--result", f"{folder}/{name}/result.json"]
    )
"""


@pytest.fixture(scope="session")
def finetune() -> Callable[..., subprocess.CompletedProcess[str]]:
    """finetune("detection.finetune", artifact, toml, folder, {"a": 0, "b": 1}): runs the stage in
    a process of its own, once for each name with its seed, into `folder`/name.

    "resumed" goes on from the first one's last checkpoint but one, of ten steps.
    """

    def run(
        module: str, artifact: Path, benchmark: Path, folder: Path, jobs: dict[str, int]
    ) -> subprocess.CompletedProcess[str]:
        words = [str(word) for job in jobs.items() for word in job]
        command = [module, str(artifact), str(benchmark), str(folder), *words]
        environment = {"OMP_NUM_THREADS": "1", "TRICKLE_CACHE": str(folder / "cache")}
        return subprocess.run(
            [sys.executable, "-c", _FINETUNE, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
        )

    return run


def _forget_mmengine() -> None:
    if "mmengine" not in sys.modules:
        return
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for kept in (MMLogger, MessageHub, DefaultScope, Visualizer):
        kept._instance_dict.clear()


@pytest.fixture
def forget_mmengine() -> Callable[[], None]:
    """Drops what mmengine keeps per process, as if the next Runner were in a process of its own."""
    return _forget_mmengine


@pytest.fixture(autouse=True)
def _no_trace_of_runners() -> Iterator[None]:
    """A Runner leaves its scope behind, in which the next test would build its models; a program
    that is called within the tests' process leaves its silence."""
    disabled = logging.root.manager.disable
    yield
    logging.disable(disabled)
    _forget_mmengine()


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Small real data sets: TRICKLE_REAL_DATA, or shared/data beside the repository."""
    folder = Path(
        os.environ.get("TRICKLE_REAL_DATA")
        or Path(__file__).resolve().parents[2] / "shared" / "data"
    )
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; let TRICKLE_REAL_DATA name their folder")
    return folder
