"""Fine-tunes Faster R-CNN on the backbone of an artifact and scores it on Pascal VOC layout."""

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
    budget = prepared.benchmark.detection
    if budget is None:
        raise ValueError(f"benchmark {prepared.benchmark.name} has no [detection]")
    prepare_openmmlab()

    from mmdet.registry import MODELS

    from detection.data import test_data, training_data
    from detection.metric import DetectionMetric
    from detection.model import detector_config, parameter_schedule
    from detection.protocol import detection_protocol
    from engine.randomness import seed_globally

    seed_globally([arguments.seed])  # some heads draw their weights when they are built
    interpolation = card.preprocessing.interpolation
    finetune(
        arguments,
        label=f"detection, {card.architecture} ({card.weights}), seed {arguments.seed}",
        scope="mmdet",
        model=MODELS.build(detector_config(arguments.artifact, card, budget)),
        training=training_data(budget, interpolation=interpolation, seed=arguments.seed),
        test=test_data(budget, interpolation=interpolation),
        metric=DetectionMetric(budget.metric, len(budget.classes)),
        steps=budget.iterations,
        optimizer=dict(
            type="SGD", lr=budget.learning_rate, momentum=0.9, weight_decay=budget.weight_decay
        ),
        gradient_clip=budget.gradient_clip,
        schedule=parameter_schedule(budget),
        protocol=detection_protocol(prepared.benchmark, prepared.digests["detection"]),
        classes=budget.classes,
        notes=prepared.notes("detection"),
        main_metric="mAP",
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
