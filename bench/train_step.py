"""One training step of ResNet-50-D, Trickle's against timm's: batch of bytes in, weights moved.

python bench/train_step.py [--json FILE] [--rounds 5] [--no-compile] [--only 64x0.25 ...]

trickle: the step of a recipe with HalfPrecision, as this machine runs it; trickle_float32: without
it. Both are the step of `engine.runner.StepLoop` under `classification.training.build_training`,
with all of its hooks and logs. timm_default: the step of timm's train.py in its default settings:
timm's own resnet50d (a quarter of the channels by its own arguments), float32, contiguous, SGD
from timm's factory. timm_best: its flags --channels-last --amp --amp-dtype bfloat16, or float32
where that is faster, and at one configuration --torchcompile. All start from the same weights, see
the same uint8 batches in memory (nothing is loaded on either side), normalize, use Nesterov SGD
of the same rate and decay (none on biases and norms, as timm does by default) and cross entropy;
the losses of the first steps have to agree. All cores are used, or OMP_NUM_THREADS.
timm_default and timm_best are the least ratios of the configurations.
"""

from __future__ import annotations

import gc
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, rate_ratio, report, spread
from bench.trick_overhead import paused_loop

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from classification.recipe import Recipe

CLASSES = 100
RATE, MOMENTUM, DECAY = 0.001, 0.9, 1e-4
"""The rate: at twice this one six steps amplify what processors round differently to percents."""
BATCHES = 4
"""Of different images; the steps go round them."""

TOLERANCE = {"float32": 1e-3, "bfloat16": 0.03}
"""Relative, of each of the first losses, between one side and the other."""


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """size: side of the images in pixels; width: factor on the channels; batch: images."""

    size: int
    width: float
    batch: int

    @property
    def name(self) -> str:
        return f"{self.size}x{self.width:g}"


CONFIGURATIONS = (
    Configuration(size=64, width=0.25, batch=64),
    Configuration(size=64, width=1.0, batch=32),
    Configuration(size=224, width=0.25, batch=16),
    Configuration(size=224, width=1.0, batch=8),
)
COMPILED = "64x0.25"
"""Of each other configuration compiling takes more than a minute as well."""


def batches_of(configuration: Configuration) -> list[dict[str, Tensor]]:
    """uint8 images (B, 3, H, W) of smooth colors and labels (B,), the same on each call."""
    import torch
    from torch.nn.functional import interpolate

    draw = torch.Generator().manual_seed(0)
    found = []
    for _ in range(BATCHES):
        patches = 256 * torch.rand(configuration.batch, 3, 5, 5, generator=draw)
        images = interpolate(patches, (configuration.size,) * 2, mode="bilinear").byte()
        labels = torch.randint(0, CLASSES, (configuration.batch,), generator=draw)
        found.append({"images": images, "labels": labels})
    return found


class TrickleStep:
    """The step of a pretraining, its batches from memory. weights: where it starts."""

    def __init__(self, recipe: Recipe, configuration: Configuration, folder: Path) -> None:
        import torch

        from benchmarks.schema import load_benchmark
        from classification.budget import training_plan
        from classification.training import build_training

        plan = training_plan(
            recipe, load_benchmark("mini").require_pretraining(), 10**6, architecture="resnet50d"
        )
        plan = replace(
            plan, batch_size=configuration.batch, learning_rate_scale=1.0, steps=1_000_000
        )
        training = build_training(
            plan,
            label=folder.name,
            architecture="resnet50d",
            width=configuration.width,
            seed=0,
            train=[(folder / "unread.jpg", 0)] * configuration.batch,
            val=[(folder / "unread.jpg", 0)],
            num_classes=CLASSES,
            workers=0,
            work_dir=folder,
        )
        self.precision = training.precision
        self.weights = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in training.classifier.state_dict().items()
        }
        runner = training.runner
        runner._train_loop = {**runner._train_loop, "type": paused_loop()}
        runner.train()
        self.loop = runner.train_loop
        self.batches = batches_of(configuration)
        for batch in self.batches:  # as the loader lays them
            batch["images"] = batch["images"].contiguous(memory_format=torch.channels_last)

    def __call__(self) -> None:
        self.loop.run_iter(self.batches[self.loop.iter % BATCHES])

    def losses(self, steps: int) -> list[float]:
        """Of the next steps."""
        found: list[float] = []
        step = self.loop.runner.micro_batches.train_step

        def noted(*arguments: Any) -> Any:
            outputs = step(*arguments)
            found.append(float(outputs["loss"].detach()))
            return outputs

        self.loop.runner.micro_batches.train_step = noted
        for _ in range(steps):
            self()
        del self.loop.runner.micro_batches.train_step
        return found


class TimmStep:
    """The step of timm's train.py and of its PrefetchLoader, line by line."""

    def __init__(
        self,
        weights: dict[str, Tensor],
        configuration: Configuration,
        *,
        channels_last: bool = False,
        half: bool = False,
        compiled: bool = False,
    ) -> None:
        import torch
        from timm.optim import create_optimizer_v2
        from torch import nn

        from backbones.preprocessing import IMAGENET_PAPER

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model: Any = timm_network(weights, configuration.width).to(self.device)
        self.channels_last, self.half = channels_last, half
        if channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.model.train()
        # --opt-kwargs fused=True, which is not timm's default.
        fused = {"fused": True} if channels_last else {}
        self.optimizer = create_optimizer_v2(
            self.model, opt="sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, **fused
        )
        self.loss = nn.CrossEntropyLoss()
        if compiled:
            self.model = torch.compile(self.model)
        self.mean, self.std = (
            torch.tensor(values, device=self.device).view(1, 3, 1, 1)
            for values in (IMAGENET_PAPER.mean, IMAGENET_PAPER.std)
        )
        self.batches, self.done = batches_of(configuration), 0

    def __call__(self) -> Tensor:
        import torch

        batch = self.batches[self.done % BATCHES]
        self.done += 1
        images = batch["images"].to(self.device, non_blocking=True)
        target = batch["labels"].to(self.device, non_blocking=True)
        images = images.to(torch.float32).sub_(self.mean).div_(self.std)
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            loss: Tensor = self.loss(self.model(images), target)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()

    def losses(self, steps: int) -> list[float]:
        """Of the next steps."""
        return [float(self()) for _ in range(steps)]


def timm_network(weights: dict[str, Tensor], width: float) -> nn.Module:
    """timm's resnet50d of that width with the classifier's weights."""
    import timm

    channels = tuple(round(width * count) for count in (64, 128, 256, 512))
    network: nn.Module = timm.create_model(
        "resnet50d",
        num_classes=len(weights["head.bias"]),
        channels=channels,
        stem_width=round(32 * width),
    )
    renamed = {
        name.removeprefix("backbone.").replace("head.", "fc."): value.clone()
        for name, value in weights.items()
    }
    network.load_state_dict(renamed)
    return network


def measure(
    configuration: Configuration, folder: Path, *, rounds: int, compiled: bool
) -> dict[str, Any]:
    """Seconds of each arm, the ratios with their quartiles, and how the losses agree."""
    from classification.recipes.bag_of_tricks import standard
    from classification.tricks.compile import Compile
    from classification.tricks.half_precision import HalfPrecision
    from classification.tricks.no_bias_decay import NoBiasDecay
    from classification.tricks.zero_gamma import ZeroGamma

    base: Recipe = standard | NoBiasDecay() | ZeroGamma()  # as timm begins
    base = replace(base, optimizer=replace(base.optimizer, learning_rate=RATE, weight_decay=DECAY))
    half = base | HalfPrecision()
    arms: dict[str, Any] = {
        "trickle": TrickleStep(half, configuration, folder / "half"),
        "trickle_float32": TrickleStep(base, configuration, folder / "float32"),
    }
    weights = arms["trickle"].weights
    # As timm's user would: half precision where there is some.
    with_half = arms["trickle"].precision != "float32"
    arms["timm_default"] = TimmStep(weights, configuration)
    arms["timm_channels_last"] = TimmStep(weights, configuration, channels_last=True)
    if with_half:
        arms["timm_channels_last_half"] = TimmStep(
            weights, configuration, channels_last=True, half=True
        )
    if compiled:
        arms["trickle_compiled"] = TrickleStep(half | Compile(), configuration, folder / "compiled")
        arms["timm_compiled"] = TimmStep(
            weights, configuration, channels_last=True, half=with_half, compiled=True
        )
    first = {name: arm.losses(3) for name, arm in arms.items()}
    agreement = _agreement(first, arms["trickle"].precision)
    calls: dict[str, Callable[[], object]] = dict(arms)
    seconds = alternate(calls, rounds=rounds, warmup=1)
    ours = [name for name in seconds if name.startswith("trickle")]
    theirs = [name for name in seconds if name.startswith("timm")]
    best = max(ours, key=lambda name: rate_ratio(seconds, name, "timm_default"))
    peer = max(theirs, key=lambda name: rate_ratio(seconds, name, "timm_default"))
    return {
        "batch": configuration.batch,
        "precision": arms["trickle"].precision,
        "seconds": seconds,
        "first_losses": first,
        "largest_loss_difference": agreement,
        "timm_default": spread(seconds, "trickle", "timm_default"),
        "timm_default_float32": spread(seconds, "trickle_float32", "timm_default"),
        "timm_best": {**spread(seconds, best, peer), "ours": best, "peer": peer},
        "timm_best_float32": spread(seconds, "trickle_float32", "timm_channels_last"),
    }


def _agreement(losses: dict[str, list[float]], precision: str) -> float:
    """The largest relative difference to timm's default; SystemExit where it is too large."""
    expected, most = losses["timm_default"], 0.0
    for name, found in losses.items():
        full = name in ("trickle_float32", "timm_channels_last")
        tolerance = TOLERANCE["float32" if full or precision == "float32" else "bfloat16"]
        off = max(abs(a - b) / abs(b) for a, b in zip(found, expected, strict=True))
        if not off <= tolerance:
            raise SystemExit(f"the first losses differ: {name} {found}, timm_default {expected}")
        most = max(most, off)
    return most


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    names = [configuration.name for configuration in CONFIGURATIONS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="SIZExWIDTH")
    arguments = parser.parse_args(argv)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="train-step-") as temporary:
        for configuration in CONFIGURATIONS:
            name = configuration.name
            if name not in arguments.only:
                continue
            compiled = name == COMPILED and not arguments.no_compile
            found[name] = measure(
                configuration, Path(temporary) / name, rounds=arguments.rounds, compiled=compiled
            )
            gc.collect()
            _show(name, found[name])
    report(
        "train_step",
        ratios={
            peer: min(result[peer]["ratio"] for result in found.values())
            for peer in ("timm_default", "timm_best")
        },
        raw=found,
        file=arguments.json,
    )


def _show(name: str, result: dict[str, Any]) -> None:
    for peer in ("timm_default", "timm_default_float32", "timm_best", "timm_best_float32"):
        ratio = result[peer]
        print(f"{name:9} {peer:21} {ratio['ratio']:.2f} ({ratio['q1']:.2f} to {ratio['q3']:.2f})")
    rates = {
        arm: f"{result['batch'] / sorted(times)[len(times) // 2]:.0f}"
        for arm, times in result["seconds"].items()
    }
    print(f"{name:9} images/s {rates}", flush=True)


if __name__ == "__main__":
    main()
