"""What the folds of a fine-tuning together say of the images that its numbers are of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from classification.finetune_task import FineTuneTask
from classification.frozen_features import labels_of
from classification.tuned_fold import TunedFold, ensemble, out_of_fold
from classification.tuned_scores import Labels, Probabilities


@dataclass(frozen=True, kw_only=True)
class CountedAnswers:
    """samples: the n images that count, the test images or, where there are none, those that a fold
    was validated on; said: of them, (n, K); views, labelled_only: as of a `TunedFold`, (n, K).
    places, held: of the v images that a fold was validated on their places among the training
    images, (v,), and what is said of them by the folds that did not see them, (v, K)."""

    samples: Sequence[tuple[Path, int]]
    said: Probabilities
    of_tests: bool
    views: Probabilities | None
    labelled_only: Probabilities | None
    places: npt.NDArray[np.intp]
    held: Probabilities

    @property
    def labels(self) -> Labels:
        return labels_of(self.samples)


def counted_answers(task: FineTuneTask, folds: list[TunedFold]) -> CountedAnswers:
    """folds: one of them at least did not diverge."""
    places, held = out_of_fold(folds, len(task.train.samples))
    together = ensemble(folds)
    samples: Sequence[tuple[Path, int]] = [task.train.samples[i] for i in places]
    if task.test is not None and together is not None:
        samples = task.test.samples
    return CountedAnswers(
        samples=samples,
        said=held if together is None else together,
        of_tests=together is not None,
        views=_said_besides(task, folds, "views"),
        labelled_only=_said_besides(task, folds, "labelled_only"),
        places=places,
        held=held,
    )


def _said_besides(task: FineTuneTask, folds: list[TunedFold], name: str) -> Probabilities | None:
    """What the folds together say of each image that counts, (n, K), by another answer of theirs:
    "views" or "labelled_only"; None where the recipe asks for none."""
    besides = [getattr(fold, name) for fold in folds]
    if all(said is None for said in besides):
        return None
    each = list(zip(folds, besides, strict=True))
    if task.test is not None:
        return ensemble([replace(fold, test=said) for fold, said in each])
    held = [replace(fold, validation=said) for fold, said in each]
    return out_of_fold(held, len(task.train.samples))[1]
