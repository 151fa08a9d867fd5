"""Fine-tunes FCN on the backbone of an artifact and scores it on ADE20K layout."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.prepare import ensure_ready
from benchmarks.schema import load_benchmark
from engine.finetuning import finetune, finetuning_arguments, prepare_openmmlab
from engine.stage import run_stage


def main(argv: list[str] | None = None) -> None:
    """Trains, tests and writes the result. Raises ValueError for a mistake of the user's."""
    arguments = finetuning_arguments(__doc__, argv)
    card = read_card(arguments.artifact)
    benchmark = load_benchmark(arguments.benchmark)
    prepared = ensure_ready(benchmark, warn=False, tolerate=arguments.tolerate)
    budget = prepared.benchmark.segmentation
    if budget is None:
        raise ValueError(f"benchmark {prepared.benchmark.name} has no [segmentation]")
    prepare_openmmlab()

    from mmseg.registry import MODELS

    from engine.randomness import seed_globally
    from segmentation.data import test_data, training_data
    from segmentation.metric import SegmentationMetric
    from segmentation.model import parameter_schedule, segmentor_config
    from segmentation.protocol import segmentation_protocol

    seed_globally([arguments.seed])  # some heads draw their weights when they are built
    interpolation = card.preprocessing.interpolation
    finetune(
        arguments,
        label=f"segmentation, {card.architecture} ({card.weights}), seed {arguments.seed}",
        scope="mmseg",
        model=MODELS.build(segmentor_config(arguments.artifact, card, budget)),
        training=training_data(budget, interpolation=interpolation, seed=arguments.seed),
        test=test_data(budget, interpolation=interpolation),
        metric=SegmentationMetric(),
        steps=budget.iterations,
        optimizer=dict(
            type="SGD", lr=budget.learning_rate, momentum=0.9, weight_decay=budget.weight_decay
        ),
        schedule=parameter_schedule(budget),
        protocol=segmentation_protocol(prepared.benchmark, prepared.digests["segmentation"]),
        classes=budget.classes,
        notes=prepared.notes("segmentation"),
        main_metric="mIoU",
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
