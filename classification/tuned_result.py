"""The result of a fine-tuning: of all its folds together."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from classification.counted_answers import CountedAnswers, counted_answers
from classification.finetune_task import FineTuneTask
from classification.frozen_features import labels_of
from classification.splits import Fold
from classification.tricks.found_learning_rate import FoundLearningRate
from classification.tuned_evidence import tuned_evidence
from classification.tuned_fold import CLASSIFIER, TunedFold, cost_of
from classification.tuned_scores import answers_of, metrics_of, top1_by_class, tuned_scores
from engine.evidence import leave_evidence
from engine.processes import is_main
from engine.results import Metric, StageResult


def tuned_result(
    task: FineTuneTask,
    folds: list[TunedFold],
    division: Sequence[Fold],
    folders: Sequence[Path],
    environment: dict[str, str],
    notes: tuple[str, ...],
    result: Path,
) -> StageResult:
    """division, folders: of each fold its images and its work folder. notes: of the data. Leaves
    the evidence beside `result`."""
    ran = _ran(folds)
    told = tuple(dict.fromkeys(note for fold in folds for note in fold.result.notes))
    cost = cost_of(folds)
    if all(fold.validation is None for fold in folds):
        return StageResult(
            status="diverged",
            cost=cost,
            protocol=ran,
            environment=environment,
            notes=(*notes, *told),
        )
    counted = counted_answers(task, folds)
    seen: str | None = None
    lost: tuple[str, ...] = ()
    if is_main():
        seen, lost = leave_evidence(
            lambda: tuned_evidence(task, counted, folds, division, folders), result
        )
    return StageResult(
        status="ok",
        metrics=_metrics(task, counted, folds),
        per_class=_per_class(task, counted, folds),
        cost=cost,
        protocol=ran,
        environment={**environment, "classifier": _places(folds)},
        notes=(*notes, *told, *_remarks(task, folds), *lost),
        evidence_sha256=seen,
    )


def _metrics(
    task: FineTuneTask, counted: CountedAnswers, folds: Sequence[TunedFold]
) -> dict[str, Metric]:
    """Of the images that count, those of the validation images beside those of test images."""
    labels, n = counted.labels, len(counted.samples)
    found = metrics_of(tuned_scores(labels, counted.said), n)
    if "auc" in found and not counted.of_tests:
        found |= metrics_of({"auc": _mean_auc(folds)}, n)
    if counted.of_tests:
        own = labels_of(task.train.samples)[counted.places]
        held = tuned_scores(own, counted.held)
        validated = {
            "validation_top1": held["tuned_top1"],
            "validation_macro_f1": held["macro_f1"],
        }
        found |= metrics_of(validated, len(own))
    besides = {"tta_top1": counted.views, "labelled_only_top1": counted.labelled_only}
    for name, said in besides.items():
        if said is not None:
            found |= metrics_of({name: tuned_scores(labels, said)["tuned_top1"]}, n)
    return found


def _mean_auc(folds: Sequence[TunedFold]) -> float | None:
    """Of those that were validated on both classes: probabilities of several classifiers have no
    order in common (Forman and Scholz 2010, *Apples-to-Apples in Cross-Validation Studies*)."""
    each = [fold.result.metrics["auc"].value for fold in folds if fold.result.metrics]
    known = [value for value in each if value is not None]
    return statistics.fmean(known) if known else None


def _per_class(
    task: FineTuneTask, counted: CountedAnswers, folds: Sequence[TunedFold]
) -> dict[str, dict[str, float | None]]:
    """Top-1 of each class and, of several folds, of each fold."""
    answers = answers_of(counted.labels, counted.said)
    by_class = zip(task.classes, top1_by_class(answers, len(task.classes)), strict=True)
    found: dict[str, dict[str, float | None]] = {"tuned_top1": dict(by_class)}
    if len(folds) > 1:
        found["folds"] = {
            f"fold {i}": fold.result.metrics["tuned_top1"].value if fold.result.metrics else None
            for i, fold in enumerate(folds, 1)
        }
    return found


def _ran(folds: Sequence[TunedFold]) -> dict[str, Any]:
    """The protocol of the last fold, with the rates that all of several have found."""
    ran, name = folds[-1].result.protocol, FoundLearningRate.name
    if len(folds) == 1 or name not in ran:
        return ran
    return {**ran, name: [fold.result.protocol[name] for fold in folds]}


def _places(folds: Sequence[TunedFold]) -> str:
    """Where the classifiers lie, seen from the job's own folder."""
    if len(folds) == 1:
        return CLASSIFIER
    kept = [i for i, fold in enumerate(folds, 1) if fold.validation is not None]
    return ", ".join(f"fold-{i}/{CLASSIFIER}" for i in kept)


def _remarks(task: FineTuneTask, folds: Sequence[TunedFold]) -> Iterator[str]:
    """What a reader of the numbers should know of the folds."""
    count = len(folds)
    if gone := [str(i) for i, fold in enumerate(folds, 1) if fold.validation is None]:
        yield (
            f"fold{'s' * (len(gone) > 1)} {', '.join(gone)} of {count} diverged: what only "
            "they would have said is missing, and the numbers are of the others"
        )
    if task.test is None:
        best = " that chose when to stop and which weights to keep" * _chooses(task)
        yield (
            "there are no test images: the numbers are of the training images that "
            + (f"each of {count} folds was validated on" if count > 1 else "it was validated on")
            + (f",{best}: they flatter a little" if best else "")
        )
    elif count > 1:
        yield f"tested by the mean of the probabilities of {count - len(gone)} folds"


def _chooses(task: FineTuneTask) -> bool:
    """Whether the validation images have a say in the weights."""
    recipe = task.found_recipe
    return recipe.early_stopping is not None or recipe.tuning.best_weights
