"""What bench/detection.py and bench/segmentation.py share: both trainings, step by step.

Ours is the stage's own runner, the peer mmengine's Runner with IterBasedTrainLoop and the default
hooks of OpenMMLab's configurations, on the same model configuration, weights, batch size, order of
images and optimizer. While losses are compared, each draw of the peer's is seeded as ours are: same
flips, crops and proposals; and each step begins with our weights in both, since what rounding does
to one step, and through it to which proposals are kept, grows from step to step. While time is
taken both run free. Neither writes checkpoints.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.measure import alternate, bench_parser, positive, report, spread
from engine.fast_paths import VARIABLE

if TYPE_CHECKING:
    from mmengine.hooks import Hook

    from backbones.card import Card
    from benchmarks.schema import Benchmark
    from engine.runner import QuietRunner

ARCHITECTURE, WIDTH, SEED = "resnet50d", 0.25, 0
FEW = 48
"""Images of a test, and of a world that is drawn because none is in the cache."""
TESTS = 5
"""Timed ones, after one that is not."""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """The parts of OpenMMLab's configuration that differ between its two packages."""

    scope: str
    model: dict[str, Any]
    train_dataset: dict[str, Any]
    test_dataset: dict[str, Any]
    evaluator: dict[str, Any]
    schedule: list[dict[str, Any]]


class Training:
    """One training, a few steps at a time, and its test. plain: none of our faster ways."""

    def __init__(self, runner: Any, *, plain: bool = False) -> None:
        self.plain = plain
        loop = runner._train_loop["type"]
        runner._train_loop = {**runner._train_loop, "type": paused(loop)}
        self.losses = kept_losses()
        runner.register_hook(self.losses, priority="LOWEST")
        runner.train()
        self.runner, self.loop = runner, runner.train_loop
        self.stream = iter(self.loop.dataloader)

    def steps(self, count: int) -> list[float]:
        """Loading, forward, backward and update; the losses."""
        self.losses.found = []
        with reference(self.plain):
            for _ in range(count):
                self.runner.model.train()
                self.loop.run_iter(next(self.stream))
        return [float(value) for value in self.losses.found]

    def test(self) -> dict[str, Any]:
        """The metrics of the test images, or of the first of them: see `test_few`."""
        with reference(self.plain):
            found: dict[str, Any] = self.runner.val_loop.run()
        return found

    def test_few(self, images: int) -> FirstImages:
        """From now on `test` is of so many images, or of all that there are."""
        loop = self.runner.val_loop
        loop.dataloader = few = FirstImages(loop.dataloader, images)
        return few


class FirstImages:
    """A loader's batches until there are `count` images; seen: how many that were, at last."""

    def __init__(self, loader: Any, count: int) -> None:
        self.loader, self.dataset, self.count, self.seen = loader, loader.dataset, count, 0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        self.seen = 0
        for batch in self.loader:
            self.seen += len(batch["inputs"])
            yield batch
            if self.seen >= self.count:
                return


@contextmanager
def reference(plain: bool) -> Iterator[None]:
    """With plain, torchvision's kernels as they are, for the operators that both share."""
    before = os.environ.get(VARIABLE)
    if plain:
        os.environ[VARIABLE] = "all"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(VARIABLE, None)
        else:
            os.environ[VARIABLE] = before


def paused(loop: type[Any]) -> type[Any]:
    """A training loop that makes all ready and leaves the steps to the caller."""

    class PausedLoop(loop):  # type: ignore[misc]
        def run(self) -> Any:
            self.runner.call_hook("before_train")
            self.runner.call_hook("before_train_epoch")
            return self.runner.model

    return PausedLoop


def kept_losses() -> Any:
    """A hook that keeps what each step's loss was in `found`."""
    from mmengine.hooks import Hook

    class KeptLosses(Hook):  # type: ignore[misc]
        found: list[Any]

        def after_train_iter(
            self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
        ) -> None:
            self.found.append(outputs["loss"].detach())

    return KeptLosses()


@dataclass(kw_only=True)
class Seeding:
    """Whether the peer draws what we draw."""

    on: bool = True


def seeded_sample(seeding: Seeding) -> Any:
    """A first transform that seeds as engine.randomness.KeyedDataset does in epoch 0."""
    from mmcv.transforms import BaseTransform

    from engine.randomness import seed_globally

    class SeededSample(BaseTransform):  # type: ignore[misc]
        def transform(self, results: dict[str, Any]) -> dict[str, Any]:
            if seeding.on:
                seed_globally([SEED, 0, results["sample_idx"]])
            return results

    return SeededSample()


def seeded_step(seeding: Seeding) -> Hook:
    """A hook that seeds as engine.randomness.StepRandomness does."""
    from engine.randomness import StepRandomness

    class SeededStep(StepRandomness):
        def before_train_iter(self, *args: Any, **options: Any) -> None:
            if seeding.on:
                super().before_train_iter(*args, **options)

    return SeededStep(SEED)


def peer_runner(peer: Peer, budget: Any, work_dir: Path) -> tuple[Any, Seeding]:
    """mmengine's Runner as OpenMMLab's tools/train.py builds it."""
    from mmengine.runner import IterBasedTrainLoop, Runner
    from torch.utils.data import Sampler

    from engine.randomness import EpochStream

    seeding = Seeding()

    class SameOrder(Sampler[int]):
        """InfiniteSampler, but for the order of the images, which is ours."""

        def __init__(self, dataset: Any, **_: Any) -> None:
            self.stream = EpochStream(len(dataset), seed=SEED)

        def __len__(self) -> int:
            return len(self.stream)

        def __iter__(self) -> Iterator[int]:
            return (key.sample for key in self.stream)

    collate = dict(type="pseudo_collate")
    clip = getattr(budget, "gradient_clip", None)
    training = {
        **peer.train_dataset,
        "pipeline": [seeded_sample(seeding), *peer.train_dataset["pipeline"]],
    }
    loaders = dict(batch_size=1, num_workers=0, collate_fn=collate)
    runner = Runner(
        model=peer.model,
        work_dir=str(work_dir),
        train_dataloader=dict(
            batch_size=budget.batch_size,
            num_workers=budget.workers,
            sampler=dict(type=SameOrder),
            collate_fn=collate,
            dataset=training,
        ),
        train_cfg=dict(type=IterBasedTrainLoop, max_iters=budget.iterations, val_interval=10**9),
        optim_wrapper=dict(
            type="OptimWrapper",
            optimizer=dict(
                type="SGD", lr=budget.learning_rate, momentum=0.9, weight_decay=budget.weight_decay
            ),
            clip_grad=None if clip is None else dict(max_norm=clip),
        ),
        param_scheduler=peer.schedule,
        val_dataloader=dict(
            **loaders,
            sampler=dict(type="DefaultSampler", shuffle=False),
            dataset=peer.test_dataset,
        ),
        val_cfg=dict(type="ValLoop"),
        val_evaluator=peer.evaluator,
        default_hooks=dict(
            logger=dict(type="LoggerHook", interval=50, log_metric_by_epoch=False),
            checkpoint=None,
            sampler_seed=None,
        ),
        custom_hooks=[seeded_step(seeding)],
        log_processor=dict(by_epoch=False),
        log_level="ERROR",
        default_scope=peer.scope,
        randomness=dict(seed=SEED),
        experiment_name="peer",
    )
    return runner, seeding


def compare(
    argv: list[str] | None,
    *,
    name: str,
    peer_name: str,
    description: str | None,
    tolerance: float,
    parts: Callable[[Path, Card, Any], tuple[Callable[..., QuietRunner], Peer]],
) -> None:
    """Both trainings' losses side by side, then their times in turns, then their tests.

    parts(artifact, card, budget): the stage's function that makes a runner, and the peer. Raises
    ValueError where a loss differs by more than `tolerance`, relative to the peer's.
    """
    parser = bench_parser(description)
    parser.add_argument("--steps", type=positive, default=4, help="in a round (default: 4)")
    parser.add_argument(
        "--compared", type=positive, default=10, help="steps whose losses are compared"
    )
    parser.add_argument("--threads", type=positive, default=1, help="of torch (default: 1)")
    arguments = parser.parse_args(argv)
    import torch

    from benchmarks.schema import load_benchmark

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as temporary:
        folder = Path(temporary)
        budget = getattr(mini(load_benchmark("mini"), folder), name)
        artifact, card = random_artifact(folder)
        training, peer = parts(artifact, card, budget)
        ours = Training(
            training(artifact, card, budget, label=name, seed=SEED, work_dir=folder / "ours")
        )
        runner, seeding = peer_runner(peer, budget, folder / "peer")
        theirs = Training(runner, plain=True)
        losses: dict[str, list[float]] = {"trickle": [], peer_name: []}
        arms = {"trickle": ours, peer_name: theirs}
        for _ in range(arguments.compared):
            theirs.runner.model.load_state_dict(ours.runner.model.state_dict())
            for arm, steps in arms.items():
                losses[arm] += steps.steps(1)
        pairs = zip(losses["trickle"], losses[peer_name], strict=True)
        differences = [abs(own - other) / abs(other) for own, other in pairs]
        if max(differences) > tolerance:
            raise ValueError(f"losses differ by up to {max(differences):.1e}: {losses}")
        seeding.on = False
        seconds = alternate(
            {arm: partial(steps.steps, arguments.steps) for arm, steps in arms.items()},
            rounds=arguments.rounds,
            warmup=1,
        )
        few = {arm: training.test_few(FEW) for arm, training in arms.items()}
        tests = alternate({arm: t.test for arm, t in arms.items()}, rounds=TESTS, warmup=1)
        tested = {arm: images.seen for arm, images in few.items()}
        if len(set(tested.values())) > 1:
            raise ValueError(f"each tests another number of images: {tested}")
    found = spread(seconds, "trickle", peer_name)
    per_step = arguments.steps * arguments.rounds
    raw = {
        "architecture": ARCHITECTURE,
        "width": WIDTH,
        "batch_size": budget.batch_size,
        "image_size": list(budget.image_size),
        "rounds": arguments.rounds,
        "steps_per_round": arguments.steps,
        "spread": {peer_name: found},
        "seconds_per_step": {arm: sum(times) / per_step for arm, times in seconds.items()},
        "seconds": seconds,
        "losses": losses,
        "max_relative_loss_difference": max(differences),
        "loss_tolerance": tolerance,
        "test": {
            "images": tested["trickle"],
            "seconds": tests,
            "spread": {peer_name: spread(tests, "trickle", peer_name)},
        },
        "gpu": torch.cuda.is_available(),
    }
    report(name, ratios={peer_name: found["ratio"]}, raw=raw, file=arguments.json)
    print(
        f"quartiles {found['q1']:.2f} {found['q3']:.2f}; losses of {arguments.compared} steps "
        f"differ by at most {max(differences):.1e}; testing "
        f"{raw['test']['spread'][peer_name]['ratio']:.2f} times the rate"
    )
    for arm, value in raw["seconds_per_step"].items():
        print(f"{arm:<8} {1e3 * value:7.1f} ms a step, {min(tests[arm]):6.2f} s a test")


def mini(benchmark: Benchmark, folder: Path) -> Benchmark:
    """The benchmark on its rendered world: the one in the cache, or a few images in `folder`."""
    from benchmarks.mini_world.render_world import render_world
    from benchmarks.prepare import find_ready

    if (prepared := find_ready(benchmark)) is not None:
        return prepared.benchmark
    world = benchmark.world
    assert world is not None
    parts = {
        part: getattr(world, part).model_copy(update={"train": FEW, "test": FEW})
        for part in ("pretraining", "detection", "segmentation")
    }
    render_world(world.model_copy(update=parts), folder / "world")
    moved = {
        part: budget.model_copy(update={"root": folder / "world" / budget.root})
        for part in ("detection", "segmentation")
        if (budget := getattr(benchmark, part)) is not None
    }
    return benchmark.model_copy(update=moved)


def random_artifact(folder: Path) -> tuple[Path, Card]:
    """The backbone of mini's rows, untrained: what it has learned does not change its cost."""
    from backbones.card import read_card
    from backbones.obtain import obtain

    obtain(f"scratch:{ARCHITECTURE}", folder / "artifact", seed=SEED, width=WIDTH)
    return folder / "artifact", read_card(folder / "artifact")
