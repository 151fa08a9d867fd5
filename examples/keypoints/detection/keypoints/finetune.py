"""Fine-tunes a keypoint head on the backbone of an artifact and scores it on COCO's layout."""

from __future__ import annotations

import sys

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
    budget = prepared.benchmark.keypoints
    if budget is None:
        raise ValueError(f"benchmark {prepared.benchmark.name} has no [keypoints]")
    prepare_openmmlab()

    from detection.keypoints.data import People, test_data, training_data
    from detection.keypoints.metric import KeypointMetric, keypoint_evidence
    from detection.keypoints.model import KeypointModel
    from detection.keypoints.protocol import keypoint_protocol
    from engine.finetuning import finetuning_runner
    from engine.randomness import seed_globally

    seed, interpolation = arguments.seed, card.preprocessing.interpolation
    label = f"keypoints, {card.architecture} ({card.weights}), seed {seed}"
    seed_globally([seed])  # the head draws its weights when it is built
    tested = People(budget, budget.test, interpolation=interpolation)
    runner = finetuning_runner(
        label=label,
        stage="keypoints",
        scope="mmengine",
        model=KeypointModel(arguments.artifact, card, budget),
        training=training_data(budget, interpolation=interpolation, seed=seed),
        test=test_data(tested),
        metric=KeypointMetric(),
        steps=budget.iterations,
        learning_rate=budget.learning_rate,
        weight_decay=budget.weight_decay,
        schedule=[dict(type="PolyLR", power=0.9, begin=0, end=budget.iterations, by_epoch=False)],
        seed=seed,
        work_dir=arguments.work_dir,
        auto_accumulate=arguments.auto_accumulate,
    )
    images = [str(budget.root / person.image) for person in tested.people]
    finetune(
        runner,
        label=label,
        result=arguments.result,
        protocol=keypoint_protocol(prepared.benchmark, prepared.digests["keypoints"]),
        classes=budget.keypoints,
        main_metric="PCK",
        evidence=lambda metric: keypoint_evidence(metric, budget, images),
        notes=prepared.notes("keypoints"),
    )


if __name__ == "__main__":
    sys.exit(run_stage(main))
