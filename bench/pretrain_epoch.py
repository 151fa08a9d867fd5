"""An epoch of pretraining over JPEG files, loading included: Trickle's against its peers'.

python bench/pretrain_epoch.py [--json FILE] [--rounds 5] [--workers 0] [--files 192]

timm: timm.data's data set, transforms and loader on Pillow, and the step of its train.py.
torchvision: ImageFolder, transforms and train_one_epoch of its reference recipe, on Pillow too.
Trickle's is the loop of `classification.training.build_training`, as a stage runs it. All crop at
random (area 0.08 to 1, aspect ratio 3/4 to 4/3, bilinear) to 64 pixels, flip, normalize, train
the same network (ResNet-50-D of a quarter of the channels, timm's for the peers, since torchvision
has none) from the same weights with Nesterov SGD and cross entropy in batches of 64, in float32.
timm_best: timm's with its best flags, --channels-last and --opt-kwargs fused=True, in the same
precision. In raw also bfloat16 on both sides (timm_half, with those flags), where the machine has
it. One thread each, or --threads; the loader has no workers, or --workers. Files: 500 x 375 windows
of scikit-learn's photographs, and the same at 80 x 80, the size of the embedded
benchmark's; a peer's ratio is the lesser of the two. An arm's call is an epoch. The mean losses of
the first epochs have to agree.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.measure import alternate, bench_parser, positive, report, spread
from bench.train_step import DECAY, MOMENTUM, timm_network
from bench.trick_overhead import paused_loop

if TYPE_CHECKING:
    from torch import Tensor

    from classification.recipe import Recipe

SIZE, WIDTH, BATCH, CLASSES = 64, 0.25, 64, 10
RATE = 0.002
AREA, ASPECT = (0.08, 1.0), (3 / 4, 4 / 3)
PEERS = ("timm", "timm_best", "torchvision")
TOLERANCE = 0.05
"""Relative, of the mean losses of an epoch: each side draws its own crops."""


def write_files(folder: Path, count: int, *, width: int, height: int) -> list[tuple[Path, int]]:
    """JPEGs of windows of two photographs, in a folder for each class."""
    import cv2
    import numpy as np
    from sklearn.datasets import load_sample_images

    rng, photographs = np.random.default_rng(0), load_sample_images().images
    samples = []
    for index in range(count):
        photograph = photographs[index % 2]
        top = int(rng.integers(0, photograph.shape[0] - 375 + 1))
        left = int(rng.integers(0, photograph.shape[1] - 500 + 1))
        window = photograph[top : top + 375, left : left + 500, ::-1]
        if (width, height) != (500, 375):
            window = cv2.resize(window, (width, height), interpolation=cv2.INTER_AREA)
        label = index % CLASSES
        path = folder / f"class{label}" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), window, [cv2.IMWRITE_JPEG_QUALITY, 92])
        samples.append((path, label))
    return samples


class TrickleEpoch:
    """Epochs of a pretraining, its data from files. weights: where it begins."""

    def __init__(
        self, recipe: Recipe, samples: list[tuple[Path, int]], folder: Path, *, workers: int
    ) -> None:
        import torch

        from benchmarks.schema import load_benchmark
        from classification.budget import training_plan
        from classification.training import build_training

        plan = training_plan(
            recipe, load_benchmark("mini").require_pretraining(), 10**6, architecture="resnet50d"
        )
        plan = replace(
            plan,
            batch_size=BATCH,
            learning_rate_scale=1.0,
            steps=1_000_000,
            train_size=SIZE,
        )
        training = build_training(
            plan,
            label=folder.name,
            architecture="resnet50d",
            width=WIDTH,
            seed=0,
            train=samples,
            val=samples[:1],
            num_classes=CLASSES,
            workers=workers,
            work_dir=folder,
        )
        self.weights = {
            name: tensor.clone(memory_format=torch.contiguous_format)
            for name, tensor in training.classifier.state_dict().items()
        }
        runner = training.runner
        runner._train_loop = {**runner._train_loop, "type": paused_loop()}
        runner.train()
        self.loop, self.steps = runner.train_loop, len(samples) // BATCH
        self.stream = self.loop._stream()

    def __call__(self) -> float:
        loop = self.loop
        total: Any = 0.0
        train_step = loop.runner.micro_batches.train_step

        def noted(*arguments: Any) -> Any:
            nonlocal total
            outputs = train_step(*arguments)
            total = total + outputs["loss"].detach()
            return outputs

        loop.runner.micro_batches.train_step = noted
        for _ in range(self.steps):
            loop.run_iter(loop.data_wait.next_of(self.stream))
        del loop.runner.micro_batches.train_step
        return float(total) / self.steps


class PeerEpoch:
    """What timm's and torchvision's loops have in common: network, optimizer and step."""

    def __init__(
        self, weights: dict[str, Tensor], *, best: bool = False, half: bool = False
    ) -> None:
        import torch
        from timm.optim import create_optimizer_v2
        from torch import nn

        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = timm_network(weights, WIDTH).to(self.device).train()
        if best:
            self.network.to(memory_format=torch.channels_last)
        self.best, self.half = best, half
        fused = {"fused": True} if best else {}
        self.optimizer = create_optimizer_v2(
            self.network, opt="sgd", lr=RATE, momentum=MOMENTUM, weight_decay=DECAY, **fused
        )
        self.criterion = nn.CrossEntropyLoss()

    def step(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """The logits and the loss."""
        import torch

        if self.best:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            output: Tensor = self.network(images)
            loss: Tensor = self.criterion(output, target)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return output.detach(), loss.detach()


def _mean_and_std() -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Trickle's, in the peers' units: of values in [0, 1]."""
    from backbones.preprocessing import IMAGENET_PAPER

    mean, std = (tuple(v / 255 for v in vs) for vs in (IMAGENET_PAPER.mean, IMAGENET_PAPER.std))
    return mean, std


class TimmEpoch(PeerEpoch):
    """train_one_epoch of timm's train.py, without its logging."""

    def __init__(
        self,
        weights: dict[str, Tensor],
        folder: Path,
        *,
        workers: int,
        best: bool = False,
        half: bool = False,
    ) -> None:
        from timm.data import create_dataset, create_loader

        super().__init__(weights, best=best, half=half)
        mean, std = _mean_and_std()
        self.loader = create_loader(
            create_dataset("", root=str(folder), split="train", is_training=True),
            input_size=(3, SIZE, SIZE),
            batch_size=BATCH,
            is_training=True,
            scale=AREA,
            ratio=ASPECT,
            hflip=0.5,
            color_jitter=None,
            interpolation="bilinear",
            mean=mean,
            std=std,
            num_workers=workers,
            device=self.device,
            persistent_workers=workers > 0,
        )

    def __call__(self) -> float:
        losses = [self.step(images, target)[1] for images, target in self.loader]
        return float(sum(losses)) / len(losses)


class TorchvisionEpoch(PeerEpoch):
    """train_one_epoch of torchvision's references/classification/train.py and its presets."""

    def __init__(self, weights: dict[str, Tensor], folder: Path, *, workers: int) -> None:
        import torch
        from torch.utils.data import DataLoader, RandomSampler
        from torchvision import transforms
        from torchvision.datasets import ImageFolder

        super().__init__(weights)
        mean, std = _mean_and_std()
        transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(SIZE, scale=AREA, ratio=ASPECT, antialias=True),
                transforms.RandomHorizontalFlip(0.5),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize(mean=mean, std=std),
            ]
        )
        data = ImageFolder(str(folder), transform)
        self.loader: Any = DataLoader(
            data,
            batch_size=BATCH,
            sampler=RandomSampler(data),
            num_workers=workers,
            pin_memory=torch.cuda.is_available(),
            drop_last=True,
            persistent_workers=workers > 0,
        )

    def __call__(self) -> float:
        total = 0.0
        for images, target in self.loader:
            images, target = images.to(self.device), target.to(self.device)
            output, loss = self.step(images, target)
            output.topk(5, 1)[1].eq(target[:, None]).sum(0).tolist()  # its metrics, each step
            total += loss.item()
        return total / len(self.loader)


def measure(
    samples: list[tuple[Path, int]], folder: Path, *, rounds: int, workers: int
) -> dict[str, Any]:
    """Seconds of each arm's epochs, the ratios with their quartiles, the losses of the first."""
    from classification.recipes.bag_of_tricks import standard
    from classification.tricks.color_scaling import ColorScaling
    from classification.tricks.half_precision import HalfPrecision
    from classification.tricks.no_bias_decay import NoBiasDecay
    from classification.tricks.pca_lighting import PCALighting
    from classification.tricks.zero_gamma import ZeroGamma
    from engine.precision import supported_half

    base: Recipe = standard | NoBiasDecay() | ZeroGamma() | ColorScaling(0) | PCALighting(0)
    base = replace(base, optimizer=replace(base.optimizer, learning_rate=RATE, weight_decay=DECAY))
    root = samples[0][0].parents[1]
    trickle = TrickleEpoch(base, samples, folder / "float32", workers=workers)
    arms: dict[str, Callable[[], float]] = {
        "trickle": trickle,
        "timm": TimmEpoch(trickle.weights, root, workers=workers),
        "timm_best": TimmEpoch(trickle.weights, root, workers=workers, best=True),
        "torchvision": TorchvisionEpoch(trickle.weights, root, workers=workers),
    }
    if supported_half() == "bfloat16":
        arms["trickle_half"] = TrickleEpoch(
            base | HalfPrecision(format="bfloat16"), samples, folder / "half", workers=workers
        )
        arms["timm_half"] = TimmEpoch(trickle.weights, root, workers=workers, best=True, half=True)
    first = {name: arm() for name, arm in arms.items()}
    for name, loss in first.items():
        if abs(loss / first["timm"] - 1) > TOLERANCE:
            raise SystemExit(f"the losses of the first epoch differ: {name} of {first}")
    seconds = alternate(arms, rounds=rounds, warmup=0)
    pairs = {**dict.fromkeys(PEERS, "trickle"), "timm_half": "trickle_half"}
    return {
        "first_losses": first,
        "images_per_second": {
            name: len(samples) * len(times) / sum(times) for name, times in seconds.items()
        },
        "seconds": seconds,
        **{peer: spread(seconds, own, peer) for peer, own in pairs.items() if peer in seconds},
    }


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.set_defaults(rounds=5)
    parser.add_argument("--workers", type=int, default=0, help="of each loader (default: 0)")
    parser.add_argument("--threads", type=positive, default=1, help="of arithmetic (default: 1)")
    parser.add_argument("--files", type=positive, default=192, help="of an epoch (default: 192)")
    arguments = parser.parse_args(argv)

    import cv2
    import torch

    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(1)
    raw: dict[str, Any] = {"workers": arguments.workers, "files": arguments.files}
    sizes = {"500x375": (500, 375), "80x80": (80, 80)}
    with tempfile.TemporaryDirectory(prefix="pretrain-epoch-") as temporary:
        for size, (width, height) in sizes.items():
            folder = Path(temporary) / size
            samples = write_files(folder / "files", arguments.files, width=width, height=height)
            found = measure(samples, folder, rounds=arguments.rounds, workers=arguments.workers)
            raw[size] = found
            for peer in (*PEERS, "timm_half"):
                if (ratio := found.get(peer)) is not None:
                    print(
                        f"{size} {peer}: {ratio['ratio']:.2f} "
                        f"({ratio['q1']:.2f} to {ratio['q3']:.2f})"
                    )
    ratios = {peer: min(raw[size][peer]["ratio"] for size in sizes) for peer in PEERS}
    report("pretrain_epoch", ratios=ratios, raw=raw, file=arguments.json)


if __name__ == "__main__":
    main()
