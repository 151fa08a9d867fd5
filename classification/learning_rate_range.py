"""What a learning rate range test says: which rate to train with, from the loss at each rate.

Smith 2017, *Cyclical Learning Rates for Training Neural Networks*, arXiv:1506.01186, section 3.3.
The rules are those of fast.ai's `lr_find`. The loss is smoothed over its neighbours on both sides
and not by an average of what came before, which lags: with fast.ai's 0.98 by tens of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from backbones.atomic import write_json_atomic
from classification.tricks.found_learning_rate import Rule
from engine.evidence import Evidence

FILE_NAME = "range_test.json"
"""In the work folder of a training."""
PLOT_NAME = "learning_rate_range.png"

_DIVERGED = 4.0  # times the lowest, as in fast.ai
_MEMORY = 0.9  # of the running average that tells divergence: a single bad batch does not
_FEWEST = 10
_WON_BACK = 0.75  # of the fall before: so much of it lost is a divergence, too
_SURE = 2.5  # standard errors: independent losses about one value fall by more in 4% of all tests
_FEW = 16  # so many losses leave half of their scatter in what is off a curve that is fit to them
_MOST_CORRELATION = 0.6  # of neighbouring losses; a fall within a few steps looks like more
_SMALLEST_FALL = 1e-4  # of the loss
_RATES, _LOSSES, _FOUND = "range_rates", "range_losses", "range_found"

_Values = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RangeTest:
    """rates: of each step that was done; losses: before each of them. rate: what they suggest.
    diverges_at: the rate at which the loss was lost; None where it never was."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    rule: Rule
    rate: float
    diverges_at: float | None

    def in_words(self) -> str:
        lost = (
            f"no divergence up to {self.rates[-1]:.2g}"
            if self.diverges_at is None
            else f"diverges at {self.diverges_at:.2g}"
        )
        return (
            f"learning rate {self.rate:g} found (range test: {self.rule} at {self.rate:g}, {lost}"
        )

    def write(self, folder: Path, about: dict[str, Any]) -> None:
        """about: what the test is a function of, as plain JSON."""
        losses = [loss if math.isfinite(loss) else None for loss in self.losses]
        write_json_atomic(folder / FILE_NAME, {"about": about, **asdict(self), "losses": losses})


def sweep(lowest: float, highest: float, steps: int) -> _Values:
    """(steps,) from `lowest` to `highest`, each the same factor above the one before."""
    found: _Values = np.geomspace(lowest, highest, steps)
    return found


def has_diverged(losses: Sequence[float]) -> bool:
    """Whether the last loss is not finite, or the running average lies above four times its
    lowest."""
    if not math.isfinite(losses[-1]):
        return True
    average, averages = 0.0, []
    for step, loss in enumerate(losses, 1):
        average = _MEMORY * average + (1 - _MEMORY) * loss
        averages.append(average / (1 - _MEMORY**step))
    return averages[-1] > _DIVERGED * min(averages)


def smoothed(losses: npt.ArrayLike, *, steps: int) -> _Values:
    """(n,) finite losses of a test of so many steps -> (n,), each the mean of its neighbours with
    the weights of a Gaussian, whose deviation is a fortieth of all steps.

    What lies above all losses until the lowest one counts as their highest: how far it diverges
    says nothing of the steps before.
    """
    values = np.asarray(losses, np.float64)
    return _averaged(_bounded(values, len(values)), steps)


def _averaged(values: _Values, steps: int) -> _Values:
    """Along the first axis."""
    from scipy.ndimage import gaussian_filter1d

    found: _Values = gaussian_filter1d(values, steps / 40, axis=0, mode="nearest")
    return found


def _bounded(values: _Values, until: int) -> _Values:
    """What lies above all losses until the lowest one of the first `until` counts as their
    highest."""
    found: _Values = np.minimum(values, values[: int(values[:until].argmin()) + 1].max())
    return found


def suggest(rates: npt.ArrayLike, losses: Sequence[float], *, rule: Rule, steps: int) -> RangeTest:
    """The learning rate that the losses suggest, to three digits.

    rates, losses: of the steps until the end or divergence, at most `steps`. The first tenth of
    all steps shows where the loss starts, and is not chosen from; nor is what lies behind the first
    divergence, where the loss often falls once more: the smoothed loss is then above four times its
    lowest, or has lost three quarters of what it had fallen, where that was at least half as much
    as it ever falls.

    Raises ValueError where the loss was lost too early, or nowhere falls beyond its scatter.
    """
    tried = np.asarray(rates, np.float64)
    lost = next((at for at, loss in enumerate(losses) if not math.isfinite(loss)), None)
    count, first = len(losses) if lost is None else lost, steps // 10
    if count < max(_FEWEST, first + 2):
        what = "exploded" if lost is None else f"was {losses[count]}"
        at = min(count, len(losses) - 1)
        raise ValueError(
            f"the range test suggests no learning rate: the loss {what} at step {at + 1} already, "
            f"at a rate of {tried[at]:.2g}. Look for what is wrong with the training, or let "
            "`lowest` of found_learning_rate be smaller"
        )
    values = np.asarray(losses[:count], np.float64)
    end = _first_divergence(values, first, steps)
    raw = _bounded(values, end)
    smooth = _averaged(raw, steps)[:end]
    start, lowest = float(raw[:first].mean()), first + int(smooth[first:].argmin())
    _check_fall(raw, end, start, float(smooth[lowest]), lowest, steps, tried)
    if rule == "minimum":
        rate = tried[lowest] / 10
    elif rule == "steepest":
        slopes = np.gradient(smooth, np.log(tried[:end]))
        rate = tried[first + int(slopes[first : lowest + 1].argmin())]
    else:
        top, bottom = _longest_fall(smooth[first:])
        rate = tried[first + (top + bottom) // 2]
    at = end if end < count else len(losses) - 1
    exploded = end < count or lost is not None or has_diverged(losses)
    return RangeTest(
        rates=tuple(tried.tolist()),
        losses=tuple(float(loss) for loss in losses),
        rule=rule,
        rate=float(f"{rate:.3g}"),
        diverges_at=float(tried[at]) if exploded else None,
    )


def _first_divergence(losses: _Values, first: int, steps: int) -> int:
    """The place of the first loss that is lost; how many there are where none is."""
    raw = _bounded(losses, len(losses))
    smooth = _averaged(raw, steps)[first:]
    lowest = np.minimum.accumulate(smooth)
    fallen = float(raw[:first].mean()) - lowest
    won_back = (smooth - lowest >= _WON_BACK * fallen) & (fallen >= fallen.max() / 2)
    (found,) = np.nonzero((smooth > _DIVERGED * lowest) | won_back & (fallen.max() > 0))
    # At least two steps are chosen from.
    return first + int(max(2, found[0])) if len(found) else len(losses)


def _check_fall(
    losses: _Values,
    end: int,
    start: float,
    least: float,
    lowest: int,
    steps: int,
    rates: _Values,
) -> None:
    """ValueError where losses that only scatter about one value would fall by as much in more than
    4% of all tests; where neighbouring ones are correlated, by 0.5, in more than a tenth.

    losses: bounded; of the first `end` is chosen. start: the mean of the first tenth; least: the
    smoothed one at `lowest`.
    """
    scatter = _scatter(losses, lowest)
    weights = _averaged(np.eye(end), steps)[lowest]  # at the end one loss counts for many
    error = scatter * math.sqrt(1 / (steps // 10) + float(weights @ weights))
    sure = _SURE * (1 + _FEW / len(losses))
    if not start - least > max(sure * error, _SMALLEST_FALL * abs(start)):
        raise ValueError(
            f"the range test suggests no learning rate: between {rates[0]:.2g} and {rates[-1]:.2g} "
            f"the loss begins at {start:.4g} and its lowest is {least:.4g}, no fall beyond its "
            f"scatter of {scatter:.2g} from step to step. Widen `lowest` to `highest` of "
            "found_learning_rate, give it more `steps`, or take it away and name a rate"
        )


def _scatter(losses: _Values, lowest: int) -> float:
    """The deviation of independent losses whose means would scatter as those of these do.

    Of what is off the nearest curve that only falls until `lowest` and only climbs behind it: in
    few steps the fall itself goes far from one loss to the next. By the differences of neighbours
    and of next but one: of a first-order autoregression with correlation r these are s^2 (1 - r)
    and s^2 (1 - r^2).
    """
    from scipy.optimize import isotonic_regression

    curve = losses.copy()
    curve[lowest:] = isotonic_regression(losses[lowest:]).x
    curve[: lowest + 1] = isotonic_regression(losses[: lowest + 1], increasing=False).x
    off = losses - curve
    near, far = (float(np.mean((off[by:] - off[:-by]) ** 2)) / 2 for by in (1, 2))
    if not near:
        return 0.0
    correlation = min(max(0.0, far / near - 1), _MOST_CORRELATION)
    return math.sqrt(near / (1 - correlation) * (1 + correlation) / (1 - correlation))


def _longest_fall(values: _Values) -> tuple[int, int]:
    """Places of the first and the last value of the longest falling subsequence; of several the
    shortest way down.

    Less than a hundredth of all the fall is none: a plateau creeps, and would count.
    """
    levels = np.round(values / (0.01 * (values.max() - values.min())))
    length, begins = np.ones(len(levels), int), np.arange(len(levels))
    for end in range(1, len(levels)):
        higher = np.flatnonzero(levels[:end] > levels[end])
        if len(higher):
            last = higher[length[higher] == length[higher].max()][-1]
            length[end], begins[end] = length[last] + 1, begins[last]
    end = int(length.argmax())
    return int(begins[end]), end


def read_range(folder: Path, about: dict[str, Any] | None = None) -> RangeTest | None:
    """The test that was left in a work folder; None where there is none, or another than
    `about`."""
    import json

    try:
        found = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
        if about is not None and found["about"] != about:
            return None
        return RangeTest(
            rates=tuple(map(float, found["rates"])),
            losses=tuple(math.nan if loss is None else float(loss) for loss in found["losses"]),
            rule=found["rule"],
            rate=float(found["rate"]),
            diverges_at=None if found["diverges_at"] is None else float(found["diverges_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def with_ranges(evidence: Evidence, folders: Sequence[Path]) -> Evidence:
    """With the tests of the F of these work folders that hold one: "range_rates" and
    "range_losses", (F, steps), NaN after the divergence, and "range_found", (F,)."""
    tests = [found for folder in folders if (found := read_range(folder)) is not None]
    if not tests:
        return evidence
    longest = max(len(test.rates) for test in tests)
    arrays = {
        _RATES: np.array([_padded(test.rates, longest) for test in tests]),
        _LOSSES: np.array([_padded(test.losses, longest) for test in tests]),
        _FOUND: np.array([test.rate for test in tests]),
    }
    return replace(evidence, arrays={**evidence.arrays, **arrays})


def _padded(values: tuple[float, ...], count: int) -> list[float]:
    return [*values, *[math.nan] * (count - len(values))]


def ranges_in(evidence: Evidence) -> list[tuple[_Values, _Values, float]]:
    """The (n,) rates, the (n,) losses and the found rate of each test that evidence holds.

    Raises ValueError where its arrays are not those of `with_ranges`.
    """
    held = [evidence.arrays.get(name) for name in (_RATES, _LOSSES, _FOUND)]
    if all(array is None for array in held):
        return []
    rates, losses, found = (np.asarray(array) for array in held)
    if any(array.dtype.kind != "f" for array in (rates, losses, found)) or not (
        rates.ndim == 2 and rates.shape == losses.shape and found.shape == rates.shape[:1]
    ):
        raise ValueError("the learning rate range of its evidence is not whole")
    tests = []
    for row_rates, row_losses, rate in zip(rates, losses, found, strict=True):
        kept = np.isfinite(row_rates) & np.isfinite(row_losses) & (row_rates > 0)
        if kept.sum() < 2 or not 0 < rate < math.inf:
            raise ValueError("the learning rate range of its evidence holds no rates")
        tests.append((row_rates[kept], row_losses[kept], float(rate)))
    return tests
