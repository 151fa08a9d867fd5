"""How many processes read the data changes nothing of what the network sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from stage_process import digests
from torch.utils.data import DataLoader

from benchmarks.prepare import PreparedBenchmark, ensure_ready
from benchmarks.schema import load_benchmark

WORKERS = (0, 2, 4)
STEPS = 9  # of 8 or 2 samples: several times through the data


@pytest.fixture(scope="module")
def prepared(
    make_benchmark: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PreparedBenchmark]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRICKLE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield ensure_ready(load_benchmark(str(make_benchmark(tmp_path_factory.mktemp("data")))))


def classification(prepared: PreparedBenchmark, workers: int) -> DataLoader[Any]:
    """With tricks that draw much: RandAugment, random erasing, each image twice in a row."""
    from benchmarks.imagenet_layout import read_index
    from classification.data import TrainingImages, ready_batch
    from classification.recipes.bag_of_tricks import mixup
    from classification.tricks import RandAugment, RandomErasing, RepeatedAugmentation
    from engine.loaders import train_loader

    recipe = mixup | RandAugment() | RandomErasing() | RepeatedAugmentation(2)
    index = read_index(prepared.benchmark.pretraining.root, "train")
    images = TrainingImages(index.samples, size=32, recipe=recipe, seed=3, num_classes=3)
    return train_loader(
        images,
        batch_size=8,
        seed=3,
        workers=workers,
        repeats=recipe.repeats,
        collate=ready_batch,
    )


def detection(prepared: PreparedBenchmark, workers: int) -> DataLoader[Any]:
    from engine.finetuning import prepare_openmmlab

    prepare_openmmlab()
    from detection.data import training_data

    budget = prepared.benchmark.detection.model_copy(update={"workers": workers})
    return training_data(budget, interpolation="bilinear", seed=3)


def segmentation(prepared: PreparedBenchmark, workers: int) -> DataLoader[Any]:
    from engine.finetuning import prepare_openmmlab

    prepare_openmmlab()
    from segmentation.data import training_data

    budget = prepared.benchmark.segmentation.model_copy(update={"workers": workers})
    return training_data(budget, interpolation="bilinear", seed=3)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # than there are cores
@pytest.mark.reliability(2, "0, 2 and 4 workers give the same stream of augmented samples")
@pytest.mark.parametrize("task", [classification, detection, segmentation])
def test_the_same_stream(
    prepared: PreparedBenchmark, measured: Callable[[str], None], task: Any
) -> None:
    streams = [
        [digests(batch) for batch in islice(task(prepared, workers), STEPS)] for workers in WORKERS
    ]
    samples = [digest for step in streams[0] for digest in step]
    assert len(samples) in (STEPS * 8, STEPS * 2)
    assert len(set(samples)) > 0.6 * len(samples), "augmented anew; detection flips, nothing more"
    assert streams[1] == streams[0]
    assert streams[2] == streams[0]
    measured(f"{task.__name__}: {len(samples)} samples with 0, 2 and 4 workers, 0 differ")
