"""The search of Fast AutoAugment (Lim et al. 2019, Algorithm 1), whatever judges the sub-policies.

In each fold sub-policies are tried one after the other on the images that the fold's network has
not seen, and the best of all folds together are the policy. The paper tries five sub-policies at a
time; since the loss of a policy is the mean of those of its sub-policies (T(D) is the union of
their images, section 3.1), the best five are the five best, and are found for a fifth of the work.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from classification.policy import Policy, SubPolicy, expected_uses
from classification.policy_search.density_matching import merge
from classification.policy_search.sampler import suggest
from classification.policy_search.trial_log import LoggedTrial, TrialLog

Judge = Callable[[SubPolicy], float]
"""The loss of a sub-policy in one fold; of `()` that of the images as they are."""

BEST = 10
"""Sub-policies that each fold gives; the paper keeps ten policies of five, out of 200 trials."""
_MEASURED = 3
"""Trials after which it is said how long the search takes."""
_LINES = 8
"""Of progress."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """plain: mean loss over the folds of the images as they are; loss: that under the policy.
    seconds: of the trials, those before an interruption too."""

    policy: Policy
    plain: float
    loss: float
    seconds: float

    def remark(self, where: str) -> str:
        """For a reader of the result. where: the policy's file."""
        uses = expected_uses(self.policy).items()
        often = ", ".join(f"{name} {use:.0%}" for name, use in list(uses)[:4])
        return (
            f"fast_auto_augment found {len(self.policy)} sub-policies by density matching "
            f"(loss {self.plain:.3f} of the images as they are, {self.loss:.3f} under them, the "
            f"best of many trials on the same images); most often, per view: {often}; a later "
            f"recipe names the file {where}"
        )


def search(
    prepare: Callable[[int], Judge],
    log: TrialLog,
    *,
    folds: int,
    trials: int,
    seed: int,
    label: str,
    tell: Callable[[str], None],
) -> Found:
    """Runs the trials that the log does not have, and appends each to it.

    prepare: gives a fold's judge, and is asked only where one of its trials is missing. tell: shows
    a line. The result is a function of the judges and the seed, interrupted or not.
    """
    total, done = folds * (1 + trials), len(log.trials)
    if done and done < total:
        tell(f"{label}: goes on after {done} of {total} trials")
    durations: list[float] = []
    for fold in range(folds):
        judge: Judge | None = None
        for number in range(len(log.of(fold)), 1 + trials):
            judge = judge or prepare(fold)
            known = [(trial.sub_policy, trial.loss) for trial in log.of(fold)[1:]]
            rng = np.random.default_rng([seed, fold, number])
            tried = suggest(known, rng) if number else ()
            began = time.monotonic()
            loss = judge(tried)
            durations.append(time.monotonic() - began)
            log.append(LoggedTrial(fold=fold, sub_policy=tried, loss=loss, seconds=durations[-1]))
            _progress(log, durations, total, label, tell)
    by_fold = [log.of(fold)[: 1 + trials] for fold in range(folds)]
    tried_of = [[(t.sub_policy, t.loss) for t in part[1:]] for part in by_fold]
    policy = merge(tried_of, best=BEST)
    losses = {sub_policy: loss for part in reversed(tried_of) for sub_policy, loss in part}
    return Found(
        policy=policy,
        plain=statistics.fmean(part[0].loss for part in by_fold),
        loss=statistics.fmean(losses[sub_policy] for sub_policy in policy),
        seconds=sum(trial.seconds for part in by_fold for trial in part),
    )


def _progress(
    log: TrialLog, durations: list[float], total: int, label: str, tell: Callable[[str], None]
) -> None:
    done = len(log.trials)
    each = statistics.median(durations)
    left = (total - done) * each
    if len(durations) == _MEASURED and left:
        tell(
            f"{label}: {total - done} of {total} trials left, {each:.1f} s each: about "
            f"{_duration(left)}; "
            "interrupted, it goes on where it was"
        )
    elif len(durations) > _MEASURED and done * _LINES // total > (done - 1) * _LINES // total:
        fold = log.trials[-1].fold
        plain, *losses = [trial.loss for trial in log.of(fold)]
        best = f"{min(losses):.3f}" if losses else "none"
        tell(
            f"  {label} {done}/{total}: fold {fold + 1}, best loss {best}, plain {plain:.3f}; "
            f"about {_duration(left)} left"
        )


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
