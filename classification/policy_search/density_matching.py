"""How well augmented images agree with what a network has learned of images that are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from classification.policy import Policy, SubPolicy, apply_sub_policy
from classification.policy_search.sampler import Trial

Views = npt.NDArray[np.uint8]
Predict = Callable[[Views], npt.NDArray[np.floating]]
"""Views (n, H, W, C) -> probabilities (n, K)."""

_LEAST = 1e-12
"""A probability that is smaller counts as this."""


def matching_loss(
    sub_policy: SubPolicy,
    views: Views,
    labels: npt.NDArray[np.integer],
    predict: Predict,
    *,
    seed: int,
) -> float:
    """The mean cross-entropy of the sub-policy's images (eq. 3 of Lim et al. 2019).

    views: (n, H, W, C) RGB, and a fourth channel that stays as it is; labels: (n,). Image i draws
    from (seed, i) whatever the sub-policy is, so that losses differ by what the sub-policies do.
    """
    changed = views.copy() if sub_policy else views
    for i in range(len(views) if sub_policy else 0):
        rng = np.random.default_rng([seed, i])
        colors = np.ascontiguousarray(views[i, ..., :3])
        changed[i, ..., :3] = apply_sub_policy(colors, sub_policy, rng)
    right = predict(changed)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(right, _LEAST)).mean())


def merge(folds: Sequence[Sequence[Trial]], *, best: int) -> Policy:
    """The `best` sub-policies of each fold together, of the smallest loss first within a fold.

    Of those with the same operations a fold gives the best one alone: else all would be variants of
    one, and where nothing is better than the images as they are, of doing next to nothing.
    """
    merged: dict[SubPolicy, None] = {}
    for trials in folds:
        chosen: dict[tuple[str, ...], SubPolicy] = {}
        for sub_policy, _ in sorted(trials, key=lambda trial: trial[1]):
            chosen.setdefault(tuple(sorted(name for name, _, _ in sub_policy)), sub_policy)
        merged |= dict.fromkeys(list(chosen.values())[:best])
    return tuple(merged)
