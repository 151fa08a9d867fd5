"""What the extra time of a row's pretraining buys, in points per hour."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from eval.intervals import Interval, interval
from eval.sections.common_seeds import BySeed, is_sure, of_seeds
from eval.sections.material import Material
from eval.sections.prices import SCORES, Price
from eval.sections.section import Cell, Grid, number
from eval.tables import duration
from eval.text import in_one_line

_HOUR = 3600
_LEAST_SHARE = 0.05
"""Of the reference's time: what two trainings of one recipe differ by on one machine, or more."""
_LEAST_SECONDS = 60.0


def gain_grid(
    material: Material, prices: Sequence[Price], values: Mapping[str, BySeed]
) -> Grid | None:
    """None where no trained row can be held against another. values: by metric."""
    by_name = {price.name: price for price in prices}
    asked = len(material.table.seeds)
    # The same for all trained rows of one control; asking for each would take long of many rows.
    known: dict[tuple[str, str], str | None] = {}
    rows = []
    for price in prices:
        if not price.pretraining:
            continue
        metrics_of: dict[str, list[str]] = {}
        for metric, task in SCORES.items():
            if price.name not in values[metric]:
                continue
            key = task, price.architecture
            if key not in known:
                known[key] = material.reference_row(task, price.name)
            if (found := known[key]) is not None and found != price.name and found in by_name:
                metrics_of.setdefault(found, []).append(metric)
        for reference, metrics in metrics_of.items():
            other = by_name[reference]
            gains = {
                m: _by_seed(values[m].get(price.name, {}), values[m].get(reference, {}))
                for m in metrics
            }
            times = _extra_by_seed(price, other, {seed for of in gains.values() for seed in of})
            extra = interval(list(times.values()))
            cells = []
            for metric in SCORES:
                gain = gains.get(metric, {})
                cells.append(_gain_cell(interval(list(gain.values())), asked))
                cells.append(_per_hour(gain, times, other))
            rows.append(
                (
                    Cell(text=in_one_line(price.name)),
                    Cell(text=in_one_line(reference)),
                    _extra_cell(extra),
                    *cells,
                )
            )
    if not rows:
        return None
    header = [what for metric in SCORES for what in (metric, f"{metric} per extra hour")]
    return Grid(
        caption="What the extra time buys",
        header=("backbone", "against", "extra time", *header),
        rows=tuple(rows),
        notes=(
            "Extra time is of pretraining, the teacher's included; random weights cost none. "
            "Another row to hold against: `--baseline SPEC`. "
            "Points and times are paired by seed. Points in brackets: no evidence of a difference, "
            "as their 95% interval over seeds holds 0, or there is one seed only, or no spread. A "
            "rate is in brackets where the points are, or the extra time is as unsure.",
            f"No rate stands where the extra time is below {_LEAST_SECONDS:.0f} s or "
            f"{100 * _LEAST_SHARE:.0f}% of the other row's: trainings of one recipe differ by as "
            "much, and points would be divided by noise; against random weights, so short a time "
            "says nothing of an hour.",
        ),
    )


def _by_seed(own: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    return {seed: own[seed] - reference[seed] for seed in sorted(own.keys() & reference.keys())}


def _extra_by_seed(price: Price, reference: Price, gained: Collection[int]) -> dict[int, float]:
    """Seconds, of those seeds with a gain whose times are known."""
    own = price.pretraining
    none = dict.fromkeys(own, 0.0)
    taught = (price.teacher or 0.0) - (reference.teacher or 0.0)
    extra = _by_seed(own, none if reference.is_control else reference.pretraining)
    return {seed: time + taught for seed, time in extra.items() if seed in gained}


def _extra_cell(extra: Interval | None) -> Cell:
    if extra is None:
        return number(None)
    sign = "" if round(extra.mean) == 0 else "-" if extra.mean < 0 else "+"
    detail = f"over {extra.n} seed{'' if extra.n == 1 else 's'}"
    if extra.ci95 is not None:
        low, high = extra.ci95
        detail += f", 95% interval {low:+.0f} to {high:+.0f} s"
    return Cell(text=f"{sign}{duration(abs(extra.mean))}", sort=extra.mean, detail=detail)


def _gain_cell(gain: Interval | None, asked: int) -> Cell:
    if gain is None:
        return number(None)
    cell = number(gain.mean, 1, signed=True)
    detail = f"over {gain.n} seed{'' if gain.n == 1 else 's'}"
    if gain.ci95 is not None:
        detail += f", 95% interval {gain.ci95[0]:+.1f} to {gain.ci95[1]:+.1f}"
    text = cell.text if is_sure(gain) else f"({cell.text})"
    few = f" {of_seeds(gain.n, asked)}" if gain.n < asked else ""
    return Cell(text=f"{text}{few}", sort=cell.sort, detail=detail)


def _per_hour(gains: Mapping[int, float], times: Mapping[int, float], reference: Price) -> Cell:
    """gains, times: by seed, of which both are taken where both are known."""
    seeds = sorted(gains.keys() & times.keys())
    gain, extra = (interval([of[seed] for seed in seeds]) for of in (gains, times))
    if gain is None or extra is None:
        return number(None)
    least = max(_LEAST_SECONDS, _LEAST_SHARE * (reference.until_weights() or 0.0))
    if extra.mean <= 0:
        return Cell(text="–", detail="it took no longer: there is no extra time")
    if extra.mean < least:
        # Against random weights all of the time is extra, and there is no doubt of it.
        why = "too short to extrapolate to an hour" if reference.is_control else "measurement noise"
        return Cell(text="–", detail=f"the extra time is below {least:.0f} s: {why}")
    cell = number(gain.mean / (extra.mean / _HOUR), 1, signed=True)
    longer = reference.is_control or (extra.ci95 is not None and extra.ci95[0] > 0)
    sure = is_sure(gain) and longer
    others = seeds != sorted(times) or seeds != sorted(gains)
    detail = (
        f"{gain.mean:+.1f} in {duration(extra.mean)}, of seed{'' if len(seeds) == 1 else 's'} "
        f"{', '.join(map(str, seeds))}"
    )
    return Cell(
        text=cell.text if sure else f"({cell.text})",
        sort=cell.sort,
        detail=detail if others else "",
    )
