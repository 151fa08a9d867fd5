"""What a fine-tuned classifier's probabilities are worth: scikit-learn's metrics, in percent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from classification.evidence import Answers
from engine.results import Metric

Labels = npt.NDArray[np.integer[Any]]
Probabilities = npt.NDArray[np.float32]


def all_finite(*answers: Probabilities | None) -> bool:
    """Whether each that there is can be scored: a NaN would be some class, and no error."""
    return all(bool(np.isfinite(said).all()) for said in answers if said is not None)


def answers_of(labels: Labels, probabilities: Probabilities) -> Answers:
    """labels: (n,); probabilities: (n, K), rows that sum to 1. Of equal ones the first is taken."""
    order = np.argsort(-probabilities, axis=1, kind="stable")
    prediction = order[:, 0]
    every = np.arange(len(labels))
    return Answers(
        label=labels.astype(np.int32),
        prediction=prediction.astype(np.int32),
        confidence=probabilities[every, prediction].astype(np.float32),
        label_confidence=probabilities[every, labels].astype(np.float32),
        label_rank=(order == labels[:, None]).argmax(axis=1).astype(np.int32),
    )


def tuned_scores(labels: Labels, probabilities: Probabilities) -> dict[str, float | None]:
    """tuned_top1, balanced_accuracy (mean recall of the classes that there are), macro_f1 (of those
    and of the predicted ones); of more than five classes tuned_top5, and of two auc: None where all
    images are of one. Arguments as of `answers_of`."""
    from sklearn.metrics import f1_score, recall_score, roc_auc_score

    answers = answers_of(labels, probabilities)
    truth, said = answers.label, answers.prediction
    there = np.unique(truth)
    # recall_score is balanced_accuracy_score without its warning about a class that is not there.
    recall = recall_score(truth, said, labels=there, average="macro", zero_division=0)
    found: dict[str, float | None] = {
        "tuned_top1": float(np.mean(answers.label_rank < 1)),
        "balanced_accuracy": float(recall),
        "macro_f1": float(f1_score(truth, said, average="macro", zero_division=0)),
    }
    if probabilities.shape[1] > 5:  # of five every answer would be right
        found["tuned_top5"] = float(np.mean(answers.label_rank < 5))
    if probabilities.shape[1] == 2:
        both = len(there) == 2
        found["auc"] = float(roc_auc_score(truth, probabilities[:, 1])) if both else None
    return {name: None if value is None else 100 * value for name, value in found.items()}


def metrics_of(scores: Mapping[str, float | None], n: int) -> dict[str, Metric]:
    """n: how many images they are of."""
    return {name: Metric(value=value, n=n) for name, value in scores.items()}


def top1_by_class(answers: Answers, classes: int) -> list[float | None]:
    """In percent; None for a class without images."""
    right, label = answers.right, answers.label
    return [
        100 * float(right[label == c].mean()) if (label == c).any() else None
        for c in range(classes)
    ]
