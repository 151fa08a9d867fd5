"""Attacks and corrupts what a pretrained classifier sees: what is left of its top-1."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import Card, read_card
from benchmarks.prepare import PreparedBenchmark, ensure_ready
from benchmarks.schema import PretrainingBudget, load_benchmark
from classification.robustness_protocol import (
    CORRUPTIONS,
    EPSILONS,
    LEAST_IMAGES,
    LEVELS,
    MOST_IMAGES,
    NEEDS_IMAGES,
    STEPS,
    robustness_protocol,
)
from engine.measuring import measurement_arguments
from engine.processes import how_it_ran, is_main, tell
from engine.results import Metric, StageResult
from engine.stage import run_stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from torch import Tensor

    from classification.model import Classifier

_BATCH_PIXELS = 2**20
_LARGEST_BATCH = 64
_LINES = 5
_STREAM = 3
"""Keeps the draws of corruptions apart from those of a training."""


def measure(artifact: Path, prepared: PreparedBenchmark, *, label: str) -> StageResult:
    """Top-1 in percent of clean, attacked and corrupted validation images; `robustness_protocol`
    says how.

    There is no seed: all backbones see the same images and the same noise. Raises ArtifactError
    where there is no classifier, ValueError for one of other classes than the data set's.
    """
    from benchmarks.imagenet_layout import read_index
    from classification.model import load_classifier
    from engine.cost import peak_memory_mb, stopwatch
    from engine.stage import environment

    budget = prepared.benchmark.require_pretraining(NEEDS_IMAGES)
    index = read_index(budget.root, "val", left_out=budget.left_out)
    card = read_card(artifact)
    cost: dict[str, float] = {}
    with stopwatch(cost):
        classifier = load_classifier(artifact)
        if (found := classifier.head.out_features) != len(index.classes):
            raise ValueError(
                f"{artifact} classifies into {found} classes, the data of benchmark "
                f"{prepared.benchmark.name} have {len(index.classes)}: measure an artifact that "
                "was trained on them"
            )
        places = chosen_places(len(index.samples))
        right = _count_right(classifier, card, budget, index.samples, places, label=label)
    cost["peak_memory_mb"] = peak_memory_mb()
    top1 = {what: 100 * right[what] / len(places) for what in _asked()}
    metrics, details = summarize(top1)
    shown = "  ".join(f"{name} {value:.1f}" for name, value in metrics.items())
    tell(f"  {label}: {shown}")
    return StageResult(
        status="ok",
        metrics={name: Metric(value=value, n=len(places)) for name, value in metrics.items()},
        per_class=details,
        cost=cost,
        protocol={
            **robustness_protocol(prepared.benchmark, prepared.digests["pretraining"]),
            **how_it_ran(),
        },
        environment=environment(),
        notes=prepared.notes("pretraining"),
    )


def chosen_places(count: int) -> list[int]:
    """Places in the index of the images that are looked at: evenly over it, so over the classes."""
    wanted = min(count, MOST_IMAGES, max(LEAST_IMAGES, count // 10))
    return [place * count // wanted for place in range(wanted)]


Key = tuple[str, int]
"""("clean", 0), ("fgsm" or "ifgsm", epsilon) or (a corruption, level)."""


def _asked() -> list[Key]:
    attacks = [*(("fgsm", epsilon) for epsilon in EPSILONS), ("ifgsm", EPSILONS[-1])]
    return [("clean", 0), *attacks, *((name, level) for name in CORRUPTIONS for level in LEVELS)]


def summarize(top1: dict[Key, float]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """The metrics, and each by what it is the mean of or was tried with besides.

    corruption_top1 is the mean over corruptions and levels, each alike. Its details are means over
    levels by corruption, and over corruptions by level under corruption_top1_by_level.
    """
    corrupted = {name: [top1[name, level] for level in LEVELS] for name in CORRUPTIONS}
    by_corruption = {name: sum(values) / len(values) for name, values in corrupted.items()}
    metrics = {
        "clean_top1": top1["clean", 0],
        "fgsm_top1": top1["fgsm", EPSILONS[-1]],
        "ifgsm_top1": top1["ifgsm", EPSILONS[-1]],
        "corruption_top1": sum(by_corruption.values()) / len(by_corruption),
    }
    details = {
        "fgsm_top1": {f"{epsilon}/255": top1["fgsm", epsilon] for epsilon in EPSILONS},
        "corruption_top1": by_corruption,
        "corruption_top1_by_level": {
            str(level): sum(top1[name, level] for name in CORRUPTIONS) / len(CORRUPTIONS)
            for level in LEVELS
        },
    }
    return metrics, details


def _count_right(
    classifier: Classifier,
    card: Card,
    budget: PretrainingBudget,
    samples: Sequence[tuple[Path, int]],
    places: list[int],
    *,
    label: str,
) -> Counter[Key]:
    import torch

    from classification.data import ValidationImages

    card.preprocessing.check_rgb("the measurement of robustness")
    size, resize_size = _evaluated_sizes(card, budget)
    images = ValidationImages(
        [samples[place] for place in places],
        size=size,
        resize_size=resize_size,
        interpolation=card.preprocessing.interpolation,
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = on_pixels(classifier, device, size=size)
    batch_size = max(1, min(_LARGEST_BATCH, _BATCH_PIXELS // size**2))
    right: Counter[Key] = Counter()
    told = 0
    for start in range(0, len(places), batch_size):
        some = range(start, min(start + batch_size, len(places)))
        batch = images.__getitems__(list(some))
        views = batch["images"].permute(0, 2, 3, 1).numpy()
        labels = batch["labels"].to(device)
        right += right_of(network, views, labels, places=[places[at] for at in some])
        if some.stop * _LINES // len(places) > told:
            told = some.stop * _LINES // len(places)
            tell(f"  {label}: {some.stop}/{len(places)} images")
    return right


def _evaluated_sizes(card: Card, budget: PretrainingBudget) -> tuple[int, int]:
    """As in the pretraining's own validation, of which the card holds the recipe."""
    from classification.budget import evaluation_sizes
    from classification.recipe import Recipe

    crop = (card.recipe or {}).get("evaluation_crop")
    return evaluation_sizes(Recipe(evaluation_crop=crop), budget, card.architecture)


def on_pixels(classifier: Classifier, device: Any, *, size: int) -> Callable[[Tensor], Tensor]:
    """Logits of (B, 3, size, size) RGB pixels in 0..1: normalized as the backbone wants them."""
    import torch

    from classification.folding import fold_batch_norm
    from engine.fast_paths import is_fast

    fast = is_fast("channels_last")
    layout = torch.channels_last if fast else torch.contiguous_format
    prep = classifier.backbone.preprocessing
    # The same function, proved on these, in two thirds of the time.
    probes = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    folded, _ = fold_batch_norm(classifier, probes)
    folded = folded.requires_grad_(False).to(device).to(memory_format=layout)
    mean, std = (torch.tensor(v, device=device).view(1, 3, 1, 1) for v in (prep.mean, prep.std))

    def network(images: Tensor) -> Tensor:
        inputs = (255 * images - mean) / std
        if prep.channel_order == "BGR":
            inputs = inputs.flip(1)
        logits: Tensor = folded(inputs.contiguous(memory_format=layout))
        return logits.float()

    return network


def right_of(
    network: Callable[[Tensor], Tensor], views: np.ndarray, labels: Tensor, *, places: list[int]
) -> Counter[Key]:
    """How many of the images are classified rightly, by what was done to them.

    views: (B, S, S, 3) uint8; labels: (B,); places: (B,) by which their noise is drawn.
    """
    import numpy as np
    import torch

    from classification.attacks import fgsm, iterative_fgsm, loss_gradient
    from classification.corruptions import corrupt

    def pixels(array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(labels.device).permute(0, 3, 1, 2).float() / 255

    def right(images: Tensor) -> int:
        with torch.no_grad():
            return int((network(images).argmax(1) == labels).sum())

    images = pixels(views)
    found: Counter[Key] = Counter({("clean", 0): right(images)})
    gradient = loss_gradient(network, images, labels)
    for epsilon in EPSILONS:
        found["fgsm", epsilon] = right(fgsm(images, gradient, epsilon=epsilon / 255))
    epsilon = EPSILONS[-1]
    attacked = iterative_fgsm(network, images, labels, epsilon=epsilon / 255, steps=STEPS)
    found["ifgsm", epsilon] = right(attacked)
    for number, name in enumerate(CORRUPTIONS):
        for level in LEVELS:
            changed = [
                # The same draws at each level: only their strength differs.
                corrupt(v, name, level=level, rng=np.random.default_rng([p, number, _STREAM]))
                for v, p in zip(views, places, strict=True)
            ]
            found[name, level] = right(pixels(np.stack(changed)))
    return found


def main(argv: list[str] | None = None) -> None:
    """Measures and writes the result. Raises ValueError for a mistake of the user's."""
    arguments = measurement_arguments(__doc__, argv)
    card = read_card(arguments.artifact)
    benchmark = load_benchmark(arguments.benchmark)
    prepared = ensure_ready(benchmark, warn=False, tolerate=arguments.tolerate)
    if not is_main():  # there is nothing to share
        return
    label = f"robustness, {card.architecture} ({card.weights}), seed {arguments.seed}"
    measure(arguments.artifact, prepared, label=label).write(arguments.result)


if __name__ == "__main__":
    sys.exit(run_stage(main))
