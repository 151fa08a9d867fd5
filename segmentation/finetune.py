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

    from segmentation.evidence import segmentation_evidence
    from segmentation.protocol import segmentation_protocol
    from segmentation.training import segmentation_training

    seed = arguments.seed
    label = f"segmentation, {card.architecture} ({card.weights}), seed {seed}"
    runner = segmentation_training(
        arguments.artifact,
        card,
        budget,
        label=label,
        seed=seed,
        work_dir=arguments.work_dir,
        auto_accumulate=arguments.auto_accumulate,
    )
    finetune(
        runner,
        label=label,
        result=arguments.result,
        protocol=segmentation_protocol(prepared.benchmark, prepared.digests["segmentation"]),
        classes=budget.classes,
        main_metric="mIoU",
        evidence=lambda metric: segmentation_evidence(
            metric.tested, classes=budget.classes, root=budget.root
        ),
        notes=prepared.notes("segmentation"),
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
