"""The step of a head on cached features, against the step of the whole network.

python bench/frozen_head.py [--json FILE] [--rounds 15] [--only 64x0.25 ...]

All are steps of `engine.runner.StepLoop` under `classification.training.build_training`, with all
hooks and logs, on the same image files of smooth colors. trickle: HeadOnly and PlainViews, from the
loader. full_step: all weights learn; no_grad_step: HeadOnly without the cache, as under an
augmentation; both on batches that lie in memory, so that reading and decoding count for neither.
once_seconds: what the features of all images took, reading and decoding included, which a training
pays once; after `once_pays_after` steps it is earned back. All cores are used, or OMP_NUM_THREADS.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, rate_ratio, report, spread
from bench.train_step import CONFIGURATIONS, Configuration
from bench.trick_overhead import paused_loop

if TYPE_CHECKING:
    from collections.abc import Iterator

    from classification.recipe import Recipe

CLASSES = 10
IMAGES = 256
BATCHES = 4
"""Of different images; the steps go round them."""


def write_images(folder: Path, side: int) -> list[tuple[Path, int]]:
    """IMAGES files of smooth colors, the same on each call, and their classes."""
    import cv2
    import numpy as np

    draw, found = np.random.default_rng(0), []
    for index in range(IMAGES):
        patches = draw.integers(0, 256, (5, 5, 3), dtype=np.uint8)
        path = folder / f"{index}.jpg"
        cv2.imwrite(str(path), cv2.resize(patches, (side, side), interpolation=cv2.INTER_LINEAR))
        found.append((path, index % CLASSES))
    return found


class Step:
    """The step of a fine-tuning; made, it is ready for the first one. loaded: its batches, too."""

    def __init__(
        self,
        recipe: Recipe,
        configuration: Configuration,
        folder: Path,
        images: list[tuple[Path, int]],
        *,
        loaded: bool,
    ) -> None:
        from benchmarks.schema import load_benchmark
        from classification.budget import training_plan
        from classification.training import build_training

        budget = load_benchmark("mini").require_pretraining()
        plan = training_plan(recipe, budget, len(images), architecture="resnet50d")
        size = configuration.size
        plan = replace(
            plan,
            batch_size=configuration.batch,
            steps=1_000_000,
            train_size=size,
            eval_size=size,
            resize_size=round(size / 0.875),
        )
        training = build_training(
            plan,
            label=folder.name,
            architecture="resnet50d",
            width=configuration.width,
            seed=0,
            train=images,
            val=images[:1],
            num_classes=CLASSES,
            workers=0,
            work_dir=folder,
        )
        runner = training.runner
        runner._train_loop = {**runner._train_loop, "type": paused_loop()}
        start = time.perf_counter()
        runner.train()
        self.seconds_before = time.perf_counter() - start
        self.loop = runner.train_loop
        self.stream: Iterator[Any] = iter(self.loop.dataloader)
        if loaded:
            self.stream = cycle([next(self.stream) for _ in range(BATCHES)])

    def __call__(self) -> None:
        self.loop.runner.model.train()  # as the loop does before each step
        self.loop.run_iter(next(self.stream))


def measure(configuration: Configuration, folder: Path, *, rounds: int) -> dict[str, Any]:
    """Seconds of each arm and the ratios with their quartiles."""
    from classification.recipes.bag_of_tricks import standard
    from classification.tricks.head_only import HeadOnly
    from classification.tricks.plain_views import PlainViews

    folder.mkdir(parents=True)
    images = write_images(folder, round(configuration.size / 0.875))
    recipes = {
        "full_step": standard | PlainViews(),
        "no_grad_step": standard | HeadOnly(),
        "trickle": standard | PlainViews() | HeadOnly(),
    }
    arms = {
        name: Step(recipe, configuration, folder / name, images, loaded=name != "trickle")
        for name, recipe in recipes.items()
    }
    seconds = alternate(arms, rounds=rounds, warmup=2)
    once = max(0.0, arms["trickle"].seconds_before - arms["full_step"].seconds_before)
    each = {name: statistics.median(times) for name, times in seconds.items()}
    return {
        "batch": configuration.batch,
        "images": IMAGES,
        "seconds": seconds,
        "full_step": spread(seconds, "trickle", "full_step"),
        "no_grad_step": spread(seconds, "trickle", "no_grad_step"),
        "no_grad_of_full": rate_ratio(seconds, "no_grad_step", "full_step"),
        "once_seconds": once,
        "once_pays_after": once / max(1e-9, each["full_step"] - each["trickle"]),
    }


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SIZExWIDTH")
    arguments = parser.parse_args(argv)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="frozen-head-") as temporary:
        for configuration in CONFIGURATIONS:
            name = configuration.name
            if name not in arguments.only:
                continue
            result = measure(configuration, Path(temporary) / name, rounds=arguments.rounds)
            found[name] = result
            for peer in ("full_step", "no_grad_step"):
                ratio = result[peer]
                print(f"{name:9} {peer:12} {ratio['ratio']:.1f} ", end="")
                print(f"({ratio['q1']:.1f} to {ratio['q3']:.1f})")
            once = f"{result['once_seconds']:.1f} s once, earned back after "
            print(f"{name:9} {once}{result['once_pays_after']:.0f} steps", flush=True)
    report(
        "frozen_head",
        ratios={
            peer: min(result[peer]["ratio"] for result in found.values())
            for peer in ("full_step", "no_grad_step")
        },
        raw=found,
        file=arguments.json,
    )


if __name__ == "__main__":
    main()
