"""Probes an artifact's frozen features: linear probe, nearest neighbors, few images per class."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.prepare import PreparedBenchmark, ensure_ready
from benchmarks.schema import load_benchmark
from classification.budget import evaluation_sizes
from classification.probe_protocol import (
    FEW_SHOTS,
    ITERATIONS,
    MOST_TRAINING_IMAGES,
    NEEDS_IMAGES,
    NEIGHBORS,
    REGULARIZATION,
    TEMPERATURE,
    probed_stage,
    probes_protocol,
)
from classification.recipe import Recipe
from engine.measuring import measurement_arguments
from engine.processes import how_it_ran, is_main, tell
from engine.results import Metric, StageResult
from engine.stage import run_stage

if TYPE_CHECKING:
    from classification.feature_classifiers import Fit, Split
    from classification.frozen_features import ChosenImages


def probe(artifact: Path, prepared: PreparedBenchmark, *, seed: int, label: str) -> StageResult:
    """Top-1 of each probe in percent of the validation images; see `probes_protocol`.

    seed: draws the training images. Raises ArtifactError, and ValueError for features that are no
    numbers.
    """
    from backbones.artifact import load_artifact
    from benchmarks.imagenet_layout import read_index
    from classification.feature_classifiers import Split
    from classification.frozen_features import choose_images, frozen_features, labels_of, progress
    from engine.cost import peak_memory_mb, stopwatch
    from engine.stage import environment

    budget = prepared.benchmark.require_pretraining(NEEDS_IMAGES)
    backbone = load_artifact(artifact)
    # The same view for all recipes, whatever size theirs evaluates at.
    size, resize_size = evaluation_sizes(Recipe(), budget, backbone.architecture)

    def features(what: str, samples: list[tuple[Path, int]]) -> Split:
        found = frozen_features(
            backbone,
            samples,
            size=size,
            resize_size=resize_size,
            workers=min(1, budget.workers),
            done=progress(f"{label}: {what} images", len(samples)),
        )
        return Split(features=found, labels=labels_of(samples))

    cost: dict[str, float] = {}
    found: dict[str, Fit] = {}
    with stopwatch(cost):
        of_train, of_val = (
            read_index(budget.root, split, left_out=budget.left_out).samples
            for split in ("train", "val")
        )
        chosen = choose_images(of_train, seed=seed, most=MOST_TRAINING_IMAGES)
        val = features("validation", list(of_val))
        for name, fit in _fits(features("training", chosen.samples), val, chosen):
            found[name] = fit
            tell(f"  {label}: {name} {fit.top1:.1f}")
    cost["peak_memory_mb"] = peak_memory_mb()
    cost["training_images"] = len(chosen.samples)
    stopped = [name for name, fit in found.items() if not fit.converged]
    notes = [f"{', '.join(stopped)} stopped after {ITERATIONS} iterations"] if stopped else []
    return StageResult(
        status="ok",
        metrics={name: Metric(value=fit.top1, n=len(val.labels)) for name, fit in found.items()},
        cost=cost,
        protocol={
            **probes_protocol(prepared.benchmark, prepared.digests["pretraining"]),
            **how_it_ran(),
        },
        environment=environment(),
        notes=(*prepared.notes("pretraining"), *notes),
    )


def _fits(train: Split, val: Split, chosen: ChosenImages) -> Iterator[tuple[str, Fit]]:
    """Name and fit of each probe, one after the other."""
    from classification.feature_classifiers import knn, linear_probe

    penalty = {"regularization": REGULARIZATION}
    yield "knn", knn(train, val, neighbors=NEIGHBORS, temperature=TEMPERATURE)
    for percent in FEW_SHOTS:
        few = train.part(chosen.few_shot(percent))
        yield f"few_shot_{percent}", linear_probe(few, val, **penalty, iterations=ITERATIONS)
    yield "linear_probe", linear_probe(train, val, **penalty, iterations=ITERATIONS)


def main(argv: list[str] | None = None) -> None:
    """Measures and writes the result. Raises ValueError for a mistake of the user's."""
    arguments = measurement_arguments(__doc__, argv)
    card = read_card(arguments.artifact)
    benchmark = load_benchmark(arguments.benchmark)
    prepared = ensure_ready(benchmark, warn=False, tolerate=arguments.tolerate)
    if not is_main():  # there is nothing to share
        return
    label = f"probes, {card.architecture} ({card.weights}), seed {arguments.seed}"
    if probed_stage(benchmark) == "finetune":
        from classification.own_probes import probe_own_images

        result = probe_own_images(arguments.artifact, prepared, seed=arguments.seed, label=label)
    else:
        result = probe(arguments.artifact, prepared, seed=arguments.seed, label=label)
    result.write(arguments.result)


if __name__ == "__main__":
    sys.exit(run_stage(main))
