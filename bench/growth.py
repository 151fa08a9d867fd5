"""How cost grows with images, classes, pixels, rows and seeds: four sizes of each, and the slope.

python bench/growth.py [--largest 1281000] [--folder DIR] [--json FILE]

images: hard links to small JPEGs in class folders, in a temporary folder (below --folder): listing
them for the first time, mapping the index later, looking at all sizes and times, reaching a sample,
and the memory of a process that only maps and reaches 10,000 of them, and of one that imports torch
and the pretraining's data set as well. classes: VOC's average precision of the same
detections, and a step of the linear head with its top-5. pixels: a training step of resnet50d at a
quarter of the width, and decoding and augmenting a photograph of 500x375. rows and seeds: what
`trickle run` does where all is recorded already: reading records, planning, writing the tables.

There are no peers: `ratios` is empty. raw.curves: sizes, costs, and the exponent of cost = a *
size ** exponent by least squares on logarithms, with its standard error. One thread.
"""

from __future__ import annotations

import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import bench_parser, positive, report

LARGEST = 1_281_000
LINKS = 60_000
"""To one file; ext4 allows 65,000."""
TRIES = 3
DIGESTS = dict.fromkeys(("pretraining", "detection", "segmentation"), "d" * 64)

Curve = dict[str, Any]


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument(
        "--largest", type=positive, default=LARGEST, help="number of images at most"
    )
    parser.add_argument("--folder", type=Path, help="where the images lie meanwhile")
    arguments = parser.parse_args(argv)

    import torch

    torch.set_num_threads(1)
    curves: list[Curve] = []
    raw: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="growth-", dir=arguments.folder) as temporary:
        os.environ["TRICKLE_CACHE"] = f"{temporary}/cache"
        found, raw["imagenet"] = of_images(Path(temporary), arguments.largest)
        curves += [*found, *of_classes(), *of_pixels(Path(temporary)), *of_rows(Path(temporary))]
    raw["curves"] = curves
    for curve in curves:
        slope = f"{curve['exponent']:.2f} +- {curve['error']:.2f}"
        print(f"{curve['driver']:8} {curve['name']:34} slope {slope}")
    report("growth", ratios={}, raw=raw, file=arguments.json)


def curve(
    driver: str, name: str, unit: str, sizes: Sequence[int], values: Sequence[float]
) -> Curve:
    """With the slope of log value over log size, and its standard error."""
    slope, error = slope_of(sizes, values)
    return {
        "driver": driver,
        "name": name,
        "unit": unit,
        "sizes": list(sizes),
        "values": list(values),
        "exponent": slope,
        "error": error,
    }


def slope_of(sizes: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Least squares on logarithms: the slope and its standard error.

    Raises ValueError for fewer than three sizes, of which no error follows.
    """
    if len(sizes) < 3:
        raise ValueError(f"a slope with an error needs three sizes, not {len(sizes)}")
    x, y = [math.log(size) for size in sizes], [math.log(value) for value in values]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    spread = sum((a - middle) ** 2 for a in x)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - height - slope * (a - middle)) ** 2 for a, b in zip(x, y, strict=True))
    return slope, math.sqrt(left / (len(x) - 2) / spread)


def seconds_of(call: Callable[[], Any], *, tries: int = TRIES) -> float:
    """The least of several: what disturbs can only add."""
    taken = []
    for _ in range(tries):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def of_images(folder: Path, largest: int) -> tuple[list[Curve], dict[str, Any]]:
    """The curves, and what the largest size took."""
    from benchmarks.file_index import file_index, sizes_and_times

    sizes = [largest // 1000, largest // 100, largest // 10, largest]
    found: dict[str, list[float]] = {}
    for size in sizes:
        classes = max(2, min(1000, size // 1281))
        with _links(folder / f"{size}/train", size, classes) as split:
            started = time.perf_counter()
            index = file_index(split)
            found.setdefault("listing", []).append(time.perf_counter() - started)
            if index.file is None:
                raise ValueError(f"the index of {split} was not kept")
            found.setdefault("mapping", []).append(seconds_of(partial(file_index, split)))
            found.setdefault("check", []).append(
                seconds_of(partial(sizes_and_times, split, index), tries=2)
            )
            process = _in_a_process(split.parent)
            for name, value in process.items():
                found.setdefault(name, []).append(value)
    curves = [
        curve("images", "listing, once", "s", sizes, found["listing"]),
        curve("images", "mapping the index", "s", sizes, found["mapping"]),
        curve("images", "sizes and times of all", "s", sizes, found["check"]),
        curve("images", "path and label of one", "µs", sizes, found["sample"]),
        curve("images", "memory of a process", "MB", sizes, found["rss"]),
        curve("images", "memory of one with torch", "MB", sizes, found["torch_rss"]),
    ]
    return curves, {
        "files": sizes[-1],
        "classes": classes,
        "build_seconds": found["listing"][-1],
        "open_seconds": found["mapping"][-1],
        "check_seconds": found["check"][-1],
        "start_seconds": found["mapping"][-1] + found["check"][-1],
        "rss_megabytes": found["rss"][-1],
        "private_megabytes": found["private"][-1],
        "torch_rss_megabytes": found["torch_rss"][-1],
        "torch_private_megabytes": found["torch_private"][-1],
        "torch_alone_rss_megabytes": found["torch_alone_rss"][-1],
    }


@contextmanager
def _links(split: Path, count: int, classes: int) -> Iterator[Path]:
    """So many names in class folders, old enough to be kept in an index; removed at the end."""
    import shutil

    import cv2
    import numpy as np

    split.mkdir(parents=True)
    rng = np.random.default_rng(0)
    made = 0
    for label in range(classes):
        folder = split / f"n{label:08d}"
        folder.mkdir()
        for _ in range(count // classes + (label < count % classes)):
            if made % LINKS == 0:
                source = split.parent / f"{made}.jpg"
                cv2.imwrite(str(source), rng.integers(0, 256, (24, 32, 3), np.uint8))
            os.link(source, f"{folder}/n{label:08d}_{made}.JPEG")
            made += 1
    time.sleep(2.5)
    try:
        yield split
    finally:
        shutil.rmtree(split.parent)


_PROCESS = """
import json, random, sys, time
from pathlib import Path
from benchmarks.imagenet_layout import read_index
samples = read_index(Path(sys.argv[1]), "train").samples
order = [random.Random(0).randrange(len(samples)) for _ in range(10_000)]
started = time.perf_counter()
for at in order:
    samples[at]
taken = time.perf_counter() - started
lines = [line.split() for line in open("/proc/self/smaps_rollup") if ":" in line]
memory = {words[0]: int(words[1]) for words in lines if words[-1] == "kB"}
print(json.dumps({"sample": taken / len(order) * 1e6, "rss": memory["Rss:"] * 1024 / 1e6,
                  "private": memory["Anonymous:"] * 1024 / 1e6}))
"""
_WITH_TORCH = "import classification.data, torch\n"
_READ = 'samples = read_index(Path(sys.argv[1]), "train").samples'


def _in_a_process(root: Path) -> dict[str, float]:
    """µs a sample, and MB of memory: all, and what is the process's own and no file's.

    torch_: with torch and the module of the pretraining's data set imported; torch_alone_: with
    those and without the images.
    """
    without_images = _PROCESS.replace(_READ, "samples = [None]")
    scripts = {
        "": _PROCESS,
        "torch_": _WITH_TORCH + _PROCESS,
        "torch_alone_": _WITH_TORCH + without_images,
    }
    found: dict[str, float] = {}
    for prefix, script in scripts.items():
        done = subprocess.run(
            [sys.executable, "-c", script, str(root)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=True,
        )
        found |= {f"{prefix}{name}": value for name, value in json.loads(done.stdout).items()}
    return found


def of_classes() -> list[Curve]:
    import torch
    from torch.nn.functional import cross_entropy

    from bench.scoring import scored_images
    from detection.voc_average_precision import voc_average_precisions

    sizes, heads = [10, 40, 160, 640], [10, 100, 1000, 10_000]
    scoring = []
    for classes in sizes:
        images = scored_images(300, classes, detections=36, objects=7)
        scoring.append(seconds_of(partial(voc_average_precisions, images, classes)))
    features, steps = torch.randn(64, 2048), []
    for classes in heads:
        head = torch.nn.Linear(2048, classes)
        labels = torch.randint(0, classes, (64,))

        def step(head: torch.nn.Module = head, labels: torch.Tensor = labels) -> None:
            logits = head(features)
            cross_entropy(logits, labels).backward()
            logits.topk(5)

        steps.append(seconds_of(step, tries=10))
    return [
        curve("classes", "VOC AP of 10,800 boxes", "s", sizes, scoring),
        curve("classes", "linear head: step and top-5", "s", heads, steps),
    ]


def of_pixels(folder: Path) -> list[Curve]:
    import cv2
    import torch
    from sklearn.datasets import load_sample_images
    from torch.nn.functional import cross_entropy

    from backbones.create import create_backbone
    from classification.data import TrainingImages
    from classification.model import Classifier
    from classification.recipes.bag_of_tricks import standard
    from engine.randomness import SampleKey

    file = folder / "photograph.jpg"
    photograph = load_sample_images().images[0][:375, :500, ::-1]
    cv2.imwrite(str(file), photograph, [cv2.IMWRITE_JPEG_QUALITY, 92])
    sides, steps, views = [64, 96, 160, 224], [], []
    torch.manual_seed(0)
    network = Classifier(create_backbone("resnet50d", width=0.25), 1000).train()
    for side in sides:
        images, labels = torch.randn(8, 3, side, side), torch.arange(8)

        def step(images: torch.Tensor = images, labels: torch.Tensor = labels) -> None:
            cross_entropy(network(images), labels).backward()

        step()
        steps.append(seconds_of(step, tries=5) / 8)
        data = TrainingImages([(file, 0)], size=side, recipe=standard, seed=0, num_classes=1)

        def view(data: TrainingImages = data) -> None:
            for epoch in range(40):
                data[SampleKey(epoch, 0)]

        view()
        views.append(1000 * seconds_of(view) / 40)
    areas = [side**2 for side in sides]
    return [
        curve("pixels", "training step, an image", "s", areas, steps),
        curve("pixels", "decoding and augmenting one", "ms", areas, views),
    ]


def of_rows(folder: Path) -> list[Curve]:
    from classification.recipes import RECIPES

    architectures = ("resnet50a", "resnet50b", "resnet50c", "resnet50d", "mobilenet")
    names = [f"{architecture}_{recipe}" for architecture in architectures for recipe in RECIPES]
    rows, seeds = [7, 14, 28, 56], [1, 2, 4, 8]
    by_row = [_nothing_to_do(folder / f"rows{n}", names[:n], [0]) for n in rows]
    by_seed = [_nothing_to_do(folder / f"seeds{n}", names[:7], list(range(n))) for n in seeds]
    return [
        curve("rows", "nothing to do, one seed", "s", rows, by_row),
        curve("seeds", "nothing to do, 7 rows", "s", seeds, by_seed),
    ]


def _nothing_to_do(out: Path, names: list[str], seeds: list[int]) -> float:
    """Seconds of reading, planning and writing the tables where every cell has its record."""
    from contextlib import redirect_stderr, redirect_stdout

    from benchmarks.schema import load_benchmark
    from engine.results import Metric
    from eval.layout import Layout
    from eval.plan import Plan, make_plan
    from eval.records import Record, Records, read_records, write_record
    from eval.specs import parse_specs
    from eval.transfer import report as write_report

    mini, specs, folder = load_benchmark("mini"), parse_specs(names), Layout(out).records
    folder.mkdir(parents=True)

    def plan(records: Records) -> Plan:
        return make_plan(
            specs, mini, ("detection", "segmentation"), seeds, out, records=records, digests=DIGESTS
        )

    measured = {"classification": "top1", "detection": "mAP", "segmentation": "mIoU"}
    for job in plan(Records(by_key={})).jobs:
        if job.key is None:
            continue
        control = None if job.spec.is_control else job.spec.control.name
        record = Record(
            key=job.key,
            lineage=job.lineage,
            backbone=job.spec.name,
            control=control,
            task=job.kind,
            benchmark=job.benchmark,
            protocol=job.protocol,
            seed=job.seed,
            status="ok",
            metrics={measured[job.kind]: Metric(value=50.0 + job.seed, n=100)},
            per_class={measured[job.kind]: {f"class {n}": 50.0 for n in range(20)}},
            cost={"seconds": 1.0},
        )
        write_record(folder, record)

    def again() -> None:
        found = read_records(folder)
        planned = plan(found)
        if planned.todo:
            raise ValueError(f"{len(planned.todo)} jobs are to do, none was expected")
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            write_report(out)

    return seconds_of(again)


if __name__ == "__main__":
    main()
