"""How long the report over many records takes, and what of it: budgets of 20 s and 1 GB for 500.

python bench/report.py [--records 500] [--folder DIR] [--json FILE]

The records are synthetic and valid: backbones on mini with five seeds each, with evidence of mini's
size (1,000 images classified, 200 with 45 detections each, 150 segmented; their pictures), the
scores following from it; the last some are of probes, robustness and speed. `trickle report` runs
over them in a process of its own, each round anew.

There are no peers: `ratios` is empty. raw: records, seconds of wall (median of the rounds) and peak
megabytes (most of the rounds) beside their budgets, and processor seconds of the median round, by
part as well: reading, the table, each section, the page with its plots.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import wraps
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import numpy.typing as npt

from bench.measure import bench_parser, positive, report

if TYPE_CHECKING:
    from engine.evidence import Evidence
    from engine.results import Metric
    from eval.jobs import Job
    from eval.layout import Layout

RECORDS = 500
SEEDS = (0, 1, 2, 3, 4)
BUDGET_SECONDS = 20.0
BUDGET_MEGABYTES = 1000.0
IMAGES = {"classification": 1000, "detection": 200, "segmentation": 150}
SIDE = 128  # of detection's and segmentation's images, in pixels
SAMPLES = 6

Array = npt.NDArray[Any]
Scores = dict[str, float]


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument("--records", type=positive, default=RECORDS, help="how many (default: 500)")
    parser.add_argument("--folder", type=Path, help="where they lie meanwhile")
    parser.set_defaults(rounds=3)
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="bench-report-", dir=arguments.folder) as folder:
        out = Path(folder) / "out"
        made = make_records(out, arguments.records)
        taken = [in_a_process(out) for _ in range(arguments.rounds)]
    median = sorted(taken, key=lambda one: one["seconds"])[len(taken) // 2]
    seconds = statistics.median(one["seconds"] for one in taken)
    megabytes = max(one["megabytes"] for one in taken)
    print(f"{made['records']} records, {made['evidence']} with evidence: {seconds:.1f} s, "
          f"{median['processor_seconds']:.1f} s of processor, {megabytes:.0f} MB")  # fmt: skip
    for name, value in sorted(median["parts"].items(), key=lambda part: -part[1]):
        print(f"  {name:<22} {value:.2f} s")
    report(
        "report",
        ratios={},
        raw={
            **made,
            "seconds": seconds,
            "processor_seconds": median["processor_seconds"],
            "megabytes": megabytes,
            "budget": {
                "records": RECORDS,
                "seconds": BUDGET_SECONDS,
                "megabytes": BUDGET_MEGABYTES,
            },
            "parts": median["parts"],
            "rounds": taken,
        },
        file=arguments.json,
    )


def in_a_process(out: Path) -> dict[str, Any]:
    """`trickle report OUT` in a fresh one: wall and processor seconds, peak megabytes, parts."""
    file = out.parent / "parts.json"
    code = f"from bench.report import report_in_parts; report_in_parts({str(out)!r}, {str(file)!r})"
    root = Path(__file__).resolve().parents[1]
    started = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - started
    if process.returncode != 0:
        raise ValueError(f"trickle report {out} ended with {process.returncode}: {said}")
    scale = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "seconds": seconds,
        "processor_seconds": usage.ru_utime + usage.ru_stime,
        "megabytes": usage.ru_maxrss / scale,
        "parts": json.loads(file.read_text()),
    }


def report_in_parts(out: str, file: str) -> None:
    """Runs `trickle report` here; writes the processor seconds of its parts by name to `file`."""
    import eval.page.page as page
    import eval.report as written
    import eval.sections.all_sections as sections
    import eval.transfer as transfer
    from eval.verbs import trickle

    parts: dict[str, float] = {}

    def timed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def run(*arguments: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return call(*arguments, **options)
            finally:
                parts[name] = parts.get(name, 0.0) + time.process_time() - start

        return run

    named = [(make.__module__.rpartition(".")[2], make) for make in sections.SECTIONS]
    places: list[tuple[Any, str, str]] = [
        (transfer, "read_records", "reading"),
        (transfer, "make_table", "table"),
        (written, "write_tables", "writing tables"),
        (page, "render_page", "page and plots"),
    ]
    with ExitStack() as stack:
        for module, name, part in places:
            stack.enter_context(patch.object(module, name, timed(part, getattr(module, name))))
        makers = tuple(timed(name, make) for name, make in named)
        stack.enter_context(patch.object(sections, "SECTIONS", makers))
        code = trickle(["report", out])
    parts["starting and closing"] = time.process_time() - sum(parts.values())
    Path(file).write_text(json.dumps(parts))
    sys.exit(code)


def make_records(out: Path, count: int) -> dict[str, int]:
    """Writes that many records and their evidence into `out`; how many of both.

    Pretrainings and fine-tunings of all seeds first, then what is measured on the first seed's.
    """
    from benchmarks.schema import load_benchmark
    from classification.recipes import RECIPES
    from eval.jobs import MEASUREMENTS
    from eval.layout import Layout
    from eval.plan import make_plan
    from eval.records import Record, Records, write_record
    from eval.specs import parse_specs

    architectures = ("resnet50d", "mobilenet", "resnet50a", "inception_v3")
    # Without teachers, which would be rows of their own, and names of the same recipe.
    own: dict[str, str] = {}
    for name, recipe in RECIPES.items():
        if "distillation" not in recipe.trick_names:
            own.setdefault(str(recipe), name)
    rows = [f"{architecture}_{recipe}" for architecture in architectures for recipe in own.values()]
    a_row = 3 * len(SEEDS) + len(MEASUREMENTS)
    rows = rows[: -(-count // a_row)]
    specs, mini = parse_specs(rows), load_benchmark("mini")
    digests = dict.fromkeys(("pretraining", "detection", "segmentation"), "d" * 64)

    def jobs(tasks: Iterable[Any], seeds: tuple[int, ...]) -> list[Job]:
        plan = make_plan(
            specs, mini, tuple(tasks), seeds, out, records=Records(by_key={}), digests=digests
        )
        return [job for job in plan.jobs if job.key is not None]

    trained = jobs(("detection", "segmentation"), SEEDS)
    keys = {job.key for job in trained}
    measured = [job for job in jobs(MEASUREMENTS, SEEDS[:1]) if job.key not in keys]
    chosen = list(islice([*trained, *measured], count))
    if len(chosen) < count:
        raise ValueError(f"{count} records are more than the {len(chosen)} that can be made")
    layout = Layout(out)
    for folder in (layout.records, layout.evidence):
        folder.mkdir(parents=True, exist_ok=True)
    world = World()
    kept = 0
    for job in chosen:
        control = None if job.spec.is_control else job.spec.control.name
        metrics, per_class, digest = _measured(job, world, layout)
        kept += digest is not None
        record = Record(
            key=str(job.key),
            lineage=job.lineage,
            backbone=job.spec.name,
            control=control,
            tricks=job.spec.tricks,
            task=job.kind,
            benchmark=job.benchmark,
            protocol=job.protocol,
            seed=job.seed,
            status="ok",
            metrics=metrics,
            per_class=per_class,
            cost=_cost(job),
            evidence_sha256=digest,
            environment={"cpu": "none: synthetic", "command": "bench/report.py"},
        )
        write_record(layout.records, record)
    return {"records": len(chosen), "evidence": kept}


def _draws(job: Job) -> np.random.Generator:
    """The same for the same backbone, task and seed."""
    digest = hashlib.sha256(f"{job.spec.name} {job.kind} {job.seed}".encode()).digest()
    return np.random.default_rng(list(digest[:8]))


def _skill(job: Job) -> float:
    """0..1, of a backbone on all tasks, and a little of the seed."""
    if job.spec.is_control:
        return 0.1
    digest = hashlib.sha256(job.spec.name.encode()).digest()
    return float(0.5 + 0.3 * digest[0] / 255 + 0.02 * _draws(job).normal())


def _cost(job: Job) -> Scores:
    factor = 1 + hashlib.sha256(job.spec.architecture.encode()).digest()[0] / 255
    return {
        "seconds": 60 * factor,
        "process_seconds": 70 * factor,
        "peak_memory_mb": 900 * factor,
        "backbone_parameters": round(1e6 * factor),
        "backbone_gmacs": 0.2 * factor,
        "backbone_gmacs_image_size": 224.0,
    }


def _measured(
    job: Job, world: World, layout: Layout
) -> tuple[dict[str, Metric], dict[str, dict[str, float]], str | None]:
    """Metrics, values by class, and the sha256 of the evidence that was written for it."""
    from engine.results import Metric

    rng, skill = _draws(job), _skill(job)
    tasks = {
        "classification": world.classified,
        "detection": world.detected,
        "segmentation": world.segmented,
    }
    if job.kind not in tasks:
        return (*_of_measurement(job.kind, skill), None)
    evidence, scores, per_class = tasks[job.kind](rng, skill)
    temporary = layout.evidence / "new"
    digest = evidence.write(temporary)
    temporary.rename(layout.evidence / f"{digest}.safetensors")
    metrics = {
        name: Metric(value=value, n=len(evidence.images), higher_is_better=name != "ece")
        for name, value in scores.items()
    }
    return metrics, per_class, digest


def _of_measurement(
    kind: str, skill: float
) -> tuple[dict[str, Metric], dict[str, dict[str, float]]]:
    from engine.results import Metric

    if kind == "speed":
        return {
            name: Metric(value=30 + 10 * skill, unit="images/s", n=240)
            for name in ("images_per_second_224", "images_per_second_detection")
        }, {}
    names: dict[str, tuple[str, ...]] = {
        "probes": ("knn", "few_shot_1", "few_shot_5", "few_shot_10", "linear_probe"),
        "robustness": ("clean_top1", "fgsm_top1", "ifgsm_top1", "corruption_top1"),
    }
    metrics = {
        name: Metric(value=100 * skill / (1 + n), n=500) for n, name in enumerate(names[kind])
    }
    if kind == "probes":
        return metrics, {}
    from classification.robustness_protocol import CORRUPTIONS

    return metrics, {
        "fgsm_top1": {"1/255": 60 * skill, "4/255": 30 * skill},
        "corruption_top1": dict.fromkeys(CORRUPTIONS, 50 * skill),
        "corruption_top1_by_level": {"1": 90 * skill, "3": 70 * skill, "5": 40 * skill},
    }


class World:
    """The test sets that all see: labels, objects, pixels and pictures, of a fixed seed."""

    def __init__(self) -> None:
        from benchmarks.schema import load_benchmark

        rng = np.random.default_rng(0)
        budget = load_benchmark("mini").detection
        assert budget is not None, "mini has a detection"
        self.classes = tuple(budget.classes)
        count = len(self.classes)
        self.labels = rng.integers(0, count, IMAGES["classification"]).astype(np.int32)
        images = np.repeat(np.arange(IMAGES["detection"]), 4)
        corner, sides = rng.uniform(0, 80, (len(images), 2)), rng.uniform(12, 48, (len(images), 2))
        self.boxes = np.concatenate([corner, corner + sides], axis=1).astype(np.float32)
        self.objects = images.astype(np.int32)
        self.object_labels = rng.integers(0, count, len(images)).astype(np.int32)
        self.difficult = (rng.random(len(images)) < 0.05).astype(np.uint8)
        # Each image has some of the classes, with a hundred to a few thousand pixels.
        shape = (IMAGES["segmentation"], count)
        self.pixels = rng.integers(200, 4000, shape) * (rng.random(shape) < 0.4)
        self.pixels[:, 0] += 100
        self.mask = np.kron(rng.integers(0, count, (8, 8)), np.ones((16, 16))).astype(np.uint8)
        self.small = [_picture(rng, 64) for _ in range(40)]
        self.large = [_picture(rng, SIDE) for _ in range(SAMPLES)]

    def classified(
        self, rng: np.random.Generator, skill: float
    ) -> tuple[Evidence, Scores, dict[str, dict[str, float]]]:
        from classification.evidence import Answers, confident_mistakes, hardest_images
        from engine.evidence import Evidence

        rows = np.arange(len(self.labels))
        logits = rng.normal(0, 1, (len(rows), len(self.classes)))
        logits[rows, self.labels] += 4 * skill
        shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        own = shares[rows, self.labels]
        answers = Answers(
            label=self.labels,
            prediction=shares.argmax(1).astype(np.int32),
            confidence=shares.max(1).astype(np.float32),
            label_confidence=own.astype(np.float32),
            label_rank=(shares > own[:, None]).sum(1).astype(np.int32),
        )
        places = {*confident_mistakes(answers).tolist(), *hardest_images(answers).tolist()}
        evidence = Evidence(
            task="classification",
            classes=self.classes,
            images=tuple(f"{self.classes[label]}/{n}.jpg" for n, label in enumerate(self.labels)),
            arrays=dict(vars(answers)),
            pictures={f"mistake/{at}": self.small[at % len(self.small)] for at in places},
        )
        right = answers.right
        by_class = {
            name: 100 * float(right[self.labels == label].mean())
            for label, name in enumerate(self.classes)
        }
        scores = {
            "top1": 100 * float(right.mean()),
            "top5": 100 * float((answers.label_rank < 5).mean()),
            "ece": 100 * abs(float(answers.confidence.mean() - right.mean())),
        }
        return evidence, scores, {"top1": by_class}

    def detected(
        self, rng: np.random.Generator, skill: float
    ) -> tuple[Evidence, Scores, dict[str, dict[str, float]]]:
        from detection.evidence import stacked
        from detection.voc_average_precision import judge, precisions
        from engine.evidence import Evidence

        count = 45 * IMAGES["detection"]
        aimed = rng.integers(0, len(self.boxes), count)
        sides = np.tile(self.boxes[aimed, 2:] - self.boxes[aimed, :2], 2)
        off = rng.choice([0.05, 0.15, 0.6], count) * (1.5 - skill)
        boxes = self.boxes[aimed] + rng.normal(0, 1, (count, 4)) * off[:, None] * sides
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        known = rng.random(count) < skill
        labels = np.where(
            known, self.object_labels[aimed], rng.integers(0, len(self.classes), count)
        )
        confidence = np.clip(skill * (0.6 * known - off) + 0.6 * rng.random(count), 0.01, 1)
        order = np.argsort(self.objects[aimed], kind="stable")
        arrays: dict[str, Array] = {
            "image": self.objects[aimed][order],
            "box": boxes[order].astype(np.float32),
            "score": confidence[order].astype(np.float32),
            "label": labels[order].astype(np.int32),
            "truth_image": self.objects,
            "truth_box": self.boxes,
            "truth_label": self.object_labels,
            "truth_difficult": self.difficult,
            "size": np.full((IMAGES["detection"], 2), SIDE, np.int32),
        }
        evidence = Evidence(
            task="detection",
            classes=self.classes,
            images=tuple(f"images/{n}.jpg" for n in range(IMAGES["detection"])),
            arrays=arrays,
            pictures={f"sample/{n}": picture for n, picture in enumerate(self.large)},
        )
        judged = judge(stacked(evidence), IMAGES["detection"], len(self.classes))
        objects = np.bincount(self.object_labels[self.difficult == 0], minlength=len(self.classes))
        found = precisions(judged.right, judged.wrong, judged.bounds, objects)
        by_name = {
            name: {
                label: ap for label, ap in zip(self.classes, values, strict=True) if ap is not None
            }
            for name, values in found.items()
        }
        scores = {name: float(np.mean(list(values.values()))) for name, values in by_name.items()}
        first = next(iter(scores))
        return evidence, {"mAP": scores[first], **scores}, {"mAP": by_name[first]}

    def segmented(
        self, rng: np.random.Generator, skill: float
    ) -> tuple[Evidence, Scores, dict[str, dict[str, float]]]:
        from engine.evidence import Evidence
        from segmentation.evidence import class_shares

        labeled = self.pixels
        share = np.clip(skill + 0.15 * rng.normal(0, 1, labeled.shape), 0, 1)
        intersection = (labeled * share).astype(np.int64)
        missed = (labeled - intersection).sum(1, keepdims=True)
        spread = rng.dirichlet(np.ones(len(self.classes)), len(labeled))
        predicted = intersection + (missed * spread).astype(np.int64)
        edge, both = labeled // 5, intersection // 8
        confusion = np.diag(intersection.sum(0))
        confusion += ((labeled - intersection).sum(0)[:, None] * spread[0]).astype(np.int64)
        wrong = rng.random(self.mask.shape) > skill
        guess = np.where(wrong, rng.integers(0, len(self.classes), self.mask.shape), self.mask)
        arrays: dict[str, Array] = {
            "intersection": intersection.astype(np.int32),
            "predicted": predicted.astype(np.int32),
            "labeled": labeled.astype(np.int32),
            "boundary_intersection": both.astype(np.int32),
            "boundary_union": (2 * edge - both).astype(np.int32),
            "confusion": confusion,
        }
        for n in range(SAMPLES):
            arrays |= {
                f"sample_truth/{n}": self.mask,
                f"sample_prediction/{n}": guess.astype(np.uint8),
            }
        evidence = Evidence(
            task="segmentation",
            classes=self.classes,
            images=tuple(f"images/{n}.jpg" for n in range(len(labeled))),
            arrays=arrays,
            pictures={f"sample/{n}": picture for n, picture in enumerate(self.large)},
        )
        union = predicted + labeled - intersection
        iou = class_shares(intersection, union)
        boundary = class_shares(arrays["boundary_intersection"], arrays["boundary_union"])
        scores = {
            "mIoU": float(iou.mean()),
            "aAcc": 100 * float(intersection.sum() / labeled.sum()),
            "mAcc": float(class_shares(intersection, labeled).mean()),
            "boundary_mIoU": float(boundary.mean()),
        }
        return evidence, scores, {"mIoU": dict(zip(self.classes, iou.tolist(), strict=True))}


def _picture(rng: np.random.Generator, side: int) -> bytes:
    """A JPEG of blurred noise, as many bytes as a photograph of that size."""
    import cv2

    coarse = rng.integers(0, 256, (side // 4, side // 4, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 85])[1])


if __name__ == "__main__":
    main()
