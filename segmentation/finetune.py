"""Fine-tunes FCN on the backbone of an artifact and scores it on ADE20K layout."""

from __future__ import annotations

import sys
from pathlib import Path

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from backbones.card import read_card
from benchmarks.ready_everywhere import ensure_ready_everywhere
from engine.agreement import all_or_none
from engine.finetuning import finetune, finetuning_arguments, prepare_openmmlab
from engine.stage import run_stage


def main(argv: list[str] | None = None) -> None:
    """Trains, tests and writes the result. Raises ValueError for a mistake of the user's."""
    arguments = finetuning_arguments(__doc__, argv)
    card = all_or_none(lambda: read_card(arguments.artifact))
    prepared = ensure_ready_everywhere(arguments.benchmark, warn=False, tolerate=arguments.tolerate)
    budget = prepared.benchmark.segmentation
    if budget is None:
        raise ValueError(f"benchmark {prepared.benchmark.name} has no [segmentation]")
    prepare_openmmlab()

    from segmentation.evidence import segmentation_evidence
    from segmentation.protocol import segmentation_protocol
    from segmentation.second_test import second_test
    from segmentation.training import segmentation_training

    seed = arguments.seed
    row = arguments.row or f"{card.architecture} ({card.weights})"
    label = f"segmentation, {row}, seed {seed}"
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
        second_test=second_test(budget, interpolation=card.preprocessing.interpolation),
        notes=prepared.notes("segmentation"),
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
