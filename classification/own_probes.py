"""Probes frozen features on the training images of one's own: what ranks backbones beforehand.

Each image is judged by classifiers that were fitted to the other folds; test images are not read.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from backbones.artifact import load_artifact
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.prepare import PreparedBenchmark
from classification.budget import evaluation_sizes
from classification.feature_classifiers import Split, knn, linear_probe
from classification.finetune_protocol import finetune_budget
from classification.frozen_features import (
    choose_images,
    frozen_features,
    labels_of,
    progress,
)
from classification.probe_protocol import (
    ITERATIONS,
    MOST_FOLDS,
    MOST_OWN_IMAGES,
    NEIGHBORS,
    REGULARIZATION,
    TEMPERATURE,
    probes_protocol,
)
from classification.recipe import Recipe
from classification.splits import make_folds
from engine.cost import peak_memory_mb, stopwatch
from engine.processes import how_it_ran, tell
from engine.results import Metric, StageResult
from engine.stage import environment

if TYPE_CHECKING:
    from classification.feature_classifiers import Fit


def probe_own_images(
    artifact: Path, prepared: PreparedBenchmark, *, seed: int, label: str
) -> StageResult:
    """Top-1 of each probe in percent of the training images, out of fold; see `probes_protocol`.

    seed: draws the images and the folds. Raises ArtifactError; ValueError for features that are no
    numbers, and for a class of one image.
    """
    budget = finetune_budget(prepared.benchmark)
    backbone = load_artifact(artifact)
    size, resize_size = evaluation_sizes(Recipe(), budget, backbone.architecture)
    train = read_labelled(budget, "train")
    assert train is not None, "there are training images"
    cost: dict[str, float] = {}
    with stopwatch(cost):
        samples = choose_images(train.samples, seed=seed, most=MOST_OWN_IMAGES).samples
        features = frozen_features(
            backbone,
            samples,
            size=size,
            resize_size=resize_size,
            workers=min(1, budget.workers),
            done=progress(f"{label}: training images", len(samples)),
        )
        whole = Split(features=features, labels=labels_of(samples))
        found, folds = probe_folds(whole, _groups(train, samples), train.classes, seed=seed)
    for name, top1 in found.items():
        tell(f"  {label}: {name} {top1:.1f}")
    cost["peak_memory_mb"] = peak_memory_mb()
    cost["training_images"] = len(samples)
    return StageResult(
        status="ok",
        metrics={name: Metric(value=top1, n=len(samples)) for name, top1 in found.items()},
        cost=cost,
        protocol={
            **probes_protocol(prepared.benchmark, prepared.digests["finetune"]),
            **how_it_ran(),
        },
        environment=environment(),
        notes=(*prepared.notes("finetune"), f"probed in {folds} folds of the training images"),
    )


def probe_folds(
    images: Split, groups: Sequence[str] | None, classes: Sequence[str], *, seed: int
) -> tuple[dict[str, float], int]:
    """knn and linear_probe, percent of the images that are right out of fold; how many folds.

    Raises ValueError as `make_folds` does, for example for a class of one image.
    """
    fewest = int(np.bincount(images.labels, minlength=len(classes)).min())
    folds = make_folds(
        images.labels,
        groups,
        validation="kfold",
        folds=max(2, min(MOST_FOLDS, fewest)),
        share=0.2,  # kfold does not look at it
        seed=seed,
        classes=classes,
    )
    right: dict[str, float] = {"knn": 0.0, "linear_probe": 0.0}
    for fold in folds:
        fit, held = _part(images, fold.fit), _part(images, fold.validation)
        found: dict[str, Fit] = {
            "knn": knn(fit, held, neighbors=NEIGHBORS, temperature=TEMPERATURE),
            "linear_probe": linear_probe(
                fit, held, regularization=REGULARIZATION, iterations=ITERATIONS
            ),
        }
        for name, one in found.items():
            right[name] += one.top1 * len(held.labels)
    return {name: total / len(images.labels) for name, total in right.items()}, len(folds)


def _part(images: Split, places: npt.NDArray[np.intp]) -> Split:
    return Split(features=images.features[places], labels=images.labels[places])


def _groups(train: LabelledImages, chosen: Sequence[tuple[Path, int]]) -> list[str] | None:
    if train.groups is None:
        return None
    group = {path: name for (path, _), name in zip(train.samples, train.groups, strict=True)}
    return [group[path] for path, _ in chosen]
