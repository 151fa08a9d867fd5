"""What a fine-tuning leaves beside its result: its answers and what was seen of the images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from classification.counted_answers import CountedAnswers
from classification.evidence import Answers, classification_evidence
from classification.finetune_task import FineTuneTask, with_their_labels
from classification.learning_rate_range import with_ranges
from classification.own_images import Judged, Tested, finetune_evidence
from classification.pseudo_findings import with_pseudo_labels
from classification.splits import Fold
from classification.tuned_fold import TunedFold
from classification.tuned_scores import answers_of
from engine.evidence import Evidence
from engine.second_test import with_views


def tuned_evidence(
    task: FineTuneTask,
    counted: CountedAnswers,
    folds: Sequence[TunedFold],
    division: Sequence[Fold],
    folders: Sequence[Path],
) -> Evidence:
    """division, folders: of each fold its images and its work folder.

    Reads every image once. Raises DataError where one that is to be shown cannot be read.
    """
    labels = counted.labels
    found = with_ranges(_own_images(task, counted), folders)
    if counted.labelled_only is not None:
        alone = answers_of(labels, counted.labelled_only)
        found = _with_pseudo_labels(task, folds, division, found, alone)
    if counted.views is None:
        return found
    second = classification_evidence(
        answers_of(labels, counted.views),
        classes=task.classes,
        samples=counted.samples,
        task="finetune",
        folder=task.budget.folder,
    )
    return with_views(found, second, tuple(second.arrays))


def _own_images(task: FineTuneTask, counted: CountedAnswers) -> Evidence:
    """With what may be wrong with the images."""
    train = task.train.samples
    judged = [Judged(samples=counted.samples, probabilities=counted.said)]
    if counted.of_tests:
        others = train
        validation = [train[i] for i in counted.places]
        judged.append(Judged(samples=validation, probabilities=counted.held))
        kind: Tested = "test"
    else:
        known = set(counted.places.tolist())
        others = [sample for i, sample in enumerate(train) if i not in known]
        kind = "validation" if task.budget.validation == "holdout" else "out-of-fold"
    return finetune_evidence(
        answers_of(counted.labels, counted.said),
        classes=task.classes,
        tested=counted.samples,
        others=others,
        judged=judged,
        folder=task.budget.folder,
        kind=kind,
        left_out=task.budget.left_out,
    )


def _with_pseudo_labels(
    task: FineTuneTask,
    folds: Sequence[TunedFold],
    division: Sequence[Fold],
    evidence: Evidence,
    labelled_only: Answers,
) -> Evidence:
    """With what was admitted. The classes of training images that do not count as labelled are
    looked at here alone, when all is trained."""
    trick = task.pseudo_labels
    assert trick is not None, "the recipe has pseudo-labels"
    return with_pseudo_labels(
        evidence,
        labelled_only,
        folds=[
            (task.unlabelled_of(part), found.rounds)
            for part, found in zip(division, folds, strict=True)
        ],
        truth=dict(with_their_labels(task.budget).samples),
        folder=task.budget.folder,
        trick=trick,
    )
