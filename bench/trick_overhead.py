"""What each trick costs in a training step: the step with it against the step without it.

python bench/trick_overhead.py [--json docs/trick_overhead.json] [--rounds 30] [--tricks NAME ...]

Both steps are those of pretraining on mini (resnet50d of a quarter of the width, 64 pixels, 64
images, no workers): loading, augmentation, forward, backward and update, built by
`classification.training`. They alternate in one process, with one thread as mini's jobs have; a
number is the ratio of the lower quartiles of both times, beside the quartiles of the rounds'
ratios. The images are mini's, where its world is in the cache, else a small world of the same kind
is drawn. With --tricks the others of an existing FILE are kept.
The batch tricks that the project holds to at most 3% are named where they take more.
"""

from __future__ import annotations

import gc
import json
import shutil
import statistics
import sys
import tempfile
import timeit
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, machine, versions
from classification.recipes.bag_of_tricks import standard
from classification.tricks import TRICKS
from classification.tricks.color_scaling import ColorScaling
from classification.tricks.examples import EXAMPLES, usage
from classification.tricks.large_batch import LargeBatch
from classification.tricks.pca_lighting import PCALighting
from classification.tricks.schedule import Schedule
from classification.tricks.trick import Trick

if TYPE_CHECKING:
    from benchmarks.schema import PretrainingBudget
    from classification.recipe import Recipe

ARCHITECTURE, WIDTH = "resnet50d", 0.25
CLASSES = 10
BASE = standard | LargeBatch(1024)
"""mini makes 64 images of these 1024."""

WITHOUT: dict[str, Recipe] = {
    "color_scaling": BASE | ColorScaling(0),
    "pca_lighting": BASE | PCALighting(0),
}
"""The other step, for tricks of which the baseline has its own."""

UNMEASURED = {
    "large_batch": "it changes how many images a step has",
    "epochs": "it changes how many steps there are",
    "cooldown": "it changes how many steps there are",
    "early_stopping": "it acts between validations",
    "evaluation_crop": "it acts on the evaluation",
    "random_resized_crop": "it is part of every step",
    "zero_gamma": "it acts before the first step",
    "xavier_initialization": "it acts before the first step",
    "kaiming_initialization": "it acts before the first step",
    "pretrained": "it acts before the first step",
    "gradual_unfreezing": "what a step costs changes within the run",
    "head_only": "bench/frozen_head.py measures it",
    "plain_views": "it is worth what the baseline's views cost",
    "best_weights": "it acts between validations",
    "found_learning_rate": "it acts before the first step",
    "test_time_views": "it acts in the final test",
    "pseudo_labels": "its steps are the recipe's own; it adds steps and whole rounds of them",
}
SCHEDULED = (*(name for name, trick in TRICKS.items() if issubclass(trick, Schedule)), "warmup")
"""Closed forms, timed by themselves: of a step of some hundred milliseconds they take a few µs."""
HELD_TO = {"mixup": 3.0, "cut_mix": 3.0, "label_smoothing": 3.0}
"""Percent."""


class Steps:
    """The steps of one pretraining, one at a time."""

    def __init__(self, recipe: Recipe, data: Data, folder: Path, *, teacher: Path | None) -> None:
        from classification.budget import training_plan
        from classification.training import build_training

        plan = training_plan(recipe, data.budget, len(data.train), architecture=ARCHITECTURE)
        # So long that neither a checkpoint nor the end of the schedule comes.
        plan = replace(plan, steps=1_000_000, validation_interval=None, patience=None)
        training = build_training(
            plan,
            label=folder.name,
            architecture=ARCHITECTURE,
            width=WIDTH,
            seed=0,
            train=data.train,
            val=data.val,
            num_classes=CLASSES,
            workers=0,
            work_dir=folder,
            teacher=None if teacher is None else str(teacher),
        )
        self.parts = plan.accumulation
        runner = training.runner
        runner._train_loop = {**runner._train_loop, "type": paused_loop()}
        runner.train()
        self.loop = runner.train_loop
        self.restart()

    def restart(self) -> None:
        """The data from its beginning, so that two trainings see the same images."""
        self.stream = iter(self.loop.dataloader)

    def step(self) -> None:
        """Loading, forward, backward; after all parts of an accumulated batch the update."""
        for _ in range(self.parts):
            self.loop.run_iter(next(self.stream))


def paused_loop() -> type[Any]:
    """A training loop that is all ready and leaves the steps to its caller."""
    from engine.runner import StepLoop

    class PausedLoop(StepLoop):
        """Makes all ready and leaves the steps to the caller."""

        def run(self) -> Any:
            self.runner.call_hook("before_train")
            self.runner.call_hook("before_train_epoch")
            self.runner.model.train()
            return self.runner.model

    return PausedLoop


class Data:
    """Image files and classes of a prepared mini benchmark, and what it may spend."""

    def __init__(self, root: Path, budget: PretrainingBudget) -> None:
        from benchmarks.imagenet_layout import read_index

        self.budget = budget
        self.train, self.val = (read_index(root, split).samples for split in ("train", "val"))


@contextmanager
def mini_data(folder: Path) -> Iterator[Data]:
    """mini's images, or 640 of the same kind in `folder`."""
    from benchmarks.mini_world.render_world import render_world
    from benchmarks.prepare import find_ready
    from benchmarks.schema import load_benchmark

    benchmark = load_benchmark("mini")
    prepared = find_ready(benchmark)
    if prepared is not None:
        budget = prepared.benchmark.require_pretraining()
        yield Data(budget.root, budget)
        return
    world = benchmark.world
    assert world is not None
    few = {"train": 1, "test": 1}
    small = world.model_copy(
        update={
            "pretraining": world.pretraining.model_copy(update={"train": 640, "test": 20}),
            "detection": world.detection.model_copy(update=few),
            "segmentation": world.segmentation.model_copy(update=few),
        }
    )
    render_world(small, folder / "world")
    budget = benchmark.require_pretraining()
    yield Data(folder / "world" / budget.root, budget)


def untrained_teacher(folder: Path) -> Path:
    """An artifact of resnet152d at mini's width: what a teacher says costs the same untrained."""
    import torch

    from backbones.artifact import save_artifact
    from backbones.create import create_backbone
    from backbones.preprocessing import IMAGENET_PAPER
    from classification.model import Classifier

    torch.manual_seed(0)
    classifier = Classifier(create_backbone("resnet152d", width=WIDTH), CLASSES).eval()
    about = {"weights": "random", "preprocessing": IMAGENET_PAPER}
    head = dict(classifier.head.state_dict())
    save_artifact(folder / "teacher", classifier.backbone, about, head=head)
    return folder / "teacher"


def measure(
    with_it: Steps, without: Steps, *, rounds: int, trick: str | None = None
) -> dict[str, Any]:
    """Percent that a step takes longer with the trick.

    estimate: of the lower quartiles of both times, since what else goes on in the machine only
    ever makes a step slower; q1, q3: quartiles of the rounds' own ratios.
    """
    with_it.restart()
    without.restart()
    arms = {"with": with_it.step, "without": without.step}
    seconds = alternate(arms, rounds=rounds, warmup=3)
    pairs = zip(seconds["with"], seconds["without"], strict=True)
    percent = [100 * (own / other - 1) for own, other in pairs]
    q1, _, q3 = _quartiles(percent)
    quick = {name: _quartiles(times)[0] for name, times in seconds.items()}
    return {
        **({} if trick is None else {"example": usage(trick)}),
        "rounds": rounds,
        "ratio": quick["without"] / quick["with"],
        "percent": {"estimate": 100 * (quick["with"] / quick["without"] - 1), "q1": q1, "q3": q3},
        "seconds": quick,
    }


def _quartiles(values: list[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else values * 3


def schedule_cost(name: str, step_seconds: float) -> dict[str, Any]:
    """One call of the learning rate's closed form, as a share of the step."""
    from classification.schedules import learning_rate_factor

    example, warmup = EXAMPLES[name], 0.0 if "warmup" in TRICKS[name].card.conflicts else 5.0
    schedule = example if isinstance(example, Schedule) else BASE.schedule
    # For the warmup a time within it, for a schedule one in the middle of the run.
    epoch = 2.5 if name == "warmup" else 61.7
    call = partial(
        learning_rate_factor, epoch, schedule=schedule, warmup_epochs=warmup, epochs=120.0
    )
    seconds = min(timeit.repeat(call, number=2000, repeat=5)) / 2000
    share = 100 * seconds / step_seconds
    return {
        "example": usage(name),
        "ratio": 1 / (1 + share / 100),
        "percent": {"estimate": share, "q1": share, "q3": share},
        "microseconds": 1e6 * seconds,
    }


def main(argv: list[str] | None = None) -> None:
    """Measures, prints a line for each trick, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.set_defaults(rounds=30)
    parser.add_argument("--tricks", nargs="+", choices=list(TRICKS), metavar="NAME")
    arguments = parser.parse_args(argv)
    import torch

    torch.set_num_threads(1)
    names = arguments.tricks or list(TRICKS)
    kept = _kept(arguments.json) if arguments.tricks else {}
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryDirectory(prefix="trick-overhead-") as temporary,
        mini_data(folder := Path(temporary)) as data,
    ):
        base = Steps(BASE, data, folder / "base", teacher=None)
        noise = measure(
            Steps(BASE, data, folder / "again", teacher=None), base, rounds=arguments.rounds
        )
        _show("(the same step)", noise)
        step_seconds = noise["seconds"]["without"]
        for name in names:
            found[name] = _measure_trick(name, data, folder, base, step_seconds, arguments.rounds)
            _show(name, found[name])
            if arguments.json is not None:  # after each: a whole run takes minutes
                _write(arguments.json, {**kept, **found}, noise)
            gc.collect()
    for name, most in HELD_TO.items():
        if name in found and found[name]["percent"]["estimate"] > most:
            print(f"{name} takes more than {most:g}%")


def _measure_trick(
    name: str, data: Data, folder: Path, base: Steps, step_seconds: float, rounds: int
) -> dict[str, Any]:
    if name in UNMEASURED:
        return {"unmeasured": UNMEASURED[name]}
    if name == "compile" and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        return {"unmeasured": "the machine has no C++ compiler"}
    if name in SCHEDULED:
        return schedule_cost(name, step_seconds)
    without = base
    if name in WITHOUT:
        without = Steps(WITHOUT[name], data, folder / f"without-{name}", teacher=None)
    teacher = untrained_teacher(folder) if name == "distillation" else None
    with_it = Steps(BASE | EXAMPLES[name], data, folder / name, teacher=teacher)
    entry = measure(with_it, without, rounds=rounds, trick=name)
    if (seconds := call_seconds(EXAMPLES[name], data.budget.image_size)) is not None:
        entry["call"] = {"milliseconds": 1e3 * seconds, "percent": 100 * seconds / step_seconds}
    return entry


def call_seconds(trick: Trick, image_size: int) -> float | None:
    """The fastest call of what a trick does to a batch of 64; None where it leaves it alone."""
    import numpy as np
    import torch

    changed = {"transform_targets", "transform_batch"} & set(vars(type(trick)))
    if not changed:
        return None
    images = torch.randn(64, 3, image_size, image_size)
    targets = torch.eye(CLASSES)[torch.arange(64) % CLASSES]
    rng = np.random.default_rng(0)

    def call() -> None:
        trick.transform_batch(images, trick.transform_targets(targets), rng)

    return min(timeit.repeat(call, number=1, repeat=100))


def _show(name: str, entry: dict[str, Any]) -> None:
    if "unmeasured" in entry:
        print(f"{name:<24} not measured: {entry['unmeasured']}", flush=True)
        return
    percent = entry["percent"]
    spread = f"quartiles {percent['q1']:+.2f}% {percent['q3']:+.2f}%"
    if "microseconds" in entry:
        spread = f"{entry['microseconds']:.1f} µs"
    print(f"{name:<24} {percent['estimate']:+7.2f}%  {spread}", flush=True)


def _kept(file: Path | None) -> dict[str, Any]:
    """What an earlier run on the same kind of machine has found."""
    if file is None or not file.is_file():
        return {}
    earlier = json.loads(file.read_text(encoding="utf-8"))
    if earlier["machine"]["cpu"] != machine()["cpu"]:
        raise ValueError(
            f"{file} was measured on {earlier['machine']['cpu']}: measure all tricks anew, without "
            "--tricks"
        )
    tricks: dict[str, Any] = earlier["raw"]["tricks"]
    return tricks


def _write(file: Path, entries: dict[str, Any], noise: dict[str, Any]) -> None:
    from backbones.atomic import write_json_atomic

    ordered = {name: entries[name] for name in TRICKS if name in entries}
    write_json_atomic(
        file,
        {
            "name": "trick_overhead",
            "machine": machine(),
            "versions": versions(),
            # Rate with the trick over the rate without it.
            "ratios": {n: entry["ratio"] for n, entry in ordered.items() if "ratio" in entry},
            "raw": {
                "architecture": ARCHITECTURE,
                "width": WIDTH,
                "image_size": 64,
                "batch_size": 64,
                "baseline": "standard | LargeBatch(1024)",
                "noise": noise,
                "tricks": ordered,
            },
        },
    )


if __name__ == "__main__":
    from engine.stage import run_stage

    sys.exit(run_stage(main))
