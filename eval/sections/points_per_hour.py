"""What the extra time of a row's pretraining buys, in points per hour (or per unit of work)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from eval.intervals import Interval, interval
from eval.sections.common_seeds import BySeed, of_seeds, p_by_image
from eval.sections.material import Material
from eval.sections.prices import SCORES, Price
from eval.sections.section import Cell, Grid, number
from eval.sections.work import macs, unit_of
from eval.significance import Verdict, holm, paired_t, verdict_of
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
    held: list[tuple[Price, Price, list[str]]] = []
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
        held += [(price, by_name[name], metrics) for name, metrics in metrics_of.items()]
    if not held:
        return None
    work = any(price.currency == "work" for price in prices)
    most = max((price.until_weights() or 0.0 for price in prices), default=0.0)
    unit, size = unit_of(most) if work else ("hour", float(_HOUR))
    verdicts = {
        metric: _verdicts(
            material, metric, [(p, o) for p, o, ms in held if metric in ms], values[metric]
        )
        for metric in SCORES
    }
    rows = []
    for price, other, metrics in held:
        gains = {
            m: _by_seed(values[m].get(price.name, {}), values[m].get(other.name, {}))
            for m in metrics
        }
        times = _extra_by_seed(price, other, {seed for of in gains.values() for seed in of})
        cells = []
        for metric in SCORES:
            gain = gains.get(metric, {})
            sure = verdicts[metric].get(price.name) in ("better", "worse")
            cells.append(_gain_cell(interval(list(gain.values())), asked, sure=sure))
            cells.append(_rate_cell(gain, times, other, size, sure=sure))
        rows.append(
            (
                Cell(text=in_one_line(price.name)),
                Cell(text=in_one_line(other.name)),
                _extra_cell(interval(list(times.values())), work=work),
                *cells,
            )
        )
    what = "work" if work else "time"
    doubt = ", or the 95% interval of the extra time holds 0 or is not known"
    per = unit.removesuffix("s")
    header = [said for metric in SCORES for said in (metric, f"{metric} per extra {per}")]
    rule = (
        f"No rate where the extra work is below {100 * _LEAST_SHARE:.0f}% of the other row's."
        if work
        else f"No rate stands where the extra time is below {_LEAST_SECONDS:.0f} s or "
        f"{100 * _LEAST_SHARE:.0f}% of the other row's: trainings of one recipe differ by as "
        "much, and points would be divided by noise; against random weights, so short a time "
        "says nothing of an hour."
    )
    return Grid(
        caption=f"What the extra {what} buys",
        header=("backbone", "against", f"extra {what}", *header),
        rows=tuple(rows),
        notes=(
            f"Extra {what} is of pretraining, the teacher's included; random weights cost none. "
            "Another row to hold against: `--baseline SPEC`. "
            f"Points and {what} are paired by seed. Points in brackets: no evidence of a "
            "difference, by the test of the table (over seeds; over the test images where there is "
            "one seed; corrected over the rows), or nothing to test by. A rate is in brackets "
            f"where the points are{'' if work else doubt}.",
            rule,
        ),
    )


def _verdicts(
    material: Material, metric: str, held: Sequence[tuple[Price, Price]], values: BySeed
) -> dict[str, Verdict | None]:
    """By row: the table's where it holds the row against the same one, else by the same tests."""
    found: dict[str, Verdict | None] = {}
    own: dict[str, tuple[float, float | None]] = {}
    for price, other in held:
        score = price.row.metrics.get(metric)
        if price.row.compared_with == other.name and score is not None:
            found[price.name] = score.verdict
            continue
        gain = _by_seed(values.get(price.name, {}), values.get(other.name, {}))
        if not gain:
            continue
        p_value = paired_t(list(gain.values()))
        if len(gain) == 1:
            p_value = p_by_image(material, metric, price.name, other.name, *gain)
        own[price.name] = sum(gain.values()) / len(gain), p_value
    corrected = holm([p_value for _, p_value in own.values()])
    for (name, (mean, _)), p_value in zip(own.items(), corrected, strict=True):
        found[name] = verdict_of(mean, p_value)
    return found


def _by_seed(own: Mapping[int, float], reference: Mapping[int, float]) -> dict[int, float]:
    return {seed: own[seed] - reference[seed] for seed in sorted(own.keys() & reference.keys())}


def _extra_by_seed(price: Price, reference: Price, gained: Collection[int]) -> dict[int, float]:
    """What is spent, of those seeds with a gain for which it is known."""
    own = price.spent
    if price.currency == "work" and not (reference.spent or reference.is_control):
        return {}
    none = dict.fromkeys(own, 0.0)
    taught = (price.spent_on_teacher or 0.0) - (reference.spent_on_teacher or 0.0)
    extra = _by_seed(own, none if reference.is_control else reference.spent)
    return {seed: time + taught for seed, time in extra.items() if seed in gained}


def _extra_cell(extra: Interval | None, *, work: bool) -> Cell:
    if extra is None:
        return number(None)
    sign = "" if round(extra.mean) == 0 else "-" if extra.mean < 0 else "+"
    shown = macs(abs(extra.mean)) if work else duration(abs(extra.mean))
    detail = f"over {extra.n} seed{'' if extra.n == 1 else 's'}"
    if extra.ci95 is not None and not work:
        low, high = extra.ci95
        detail += f", 95% interval {low:+z.0f} to {high:+z.0f} s"
    return Cell(text=f"{sign}{shown}", sort=extra.mean, detail=detail)


def _gain_cell(gain: Interval | None, asked: int, *, sure: bool) -> Cell:
    if gain is None:
        return number(None)
    cell = number(gain.mean, 1, signed=True)
    detail = f"over {gain.n} seed{'' if gain.n == 1 else 's'}"
    if gain.ci95 is not None:
        detail += f", 95% interval {gain.ci95[0]:+z.1f} to {gain.ci95[1]:+z.1f}"
    text = cell.text if sure else f"({cell.text})"
    few = f" {of_seeds(gain.n, asked)}" if gain.n < asked else ""
    return Cell(text=f"{text}{few}", sort=cell.sort, detail=detail)


def _rate_cell(
    gains: Mapping[int, float],
    times: Mapping[int, float],
    reference: Price,
    size: float,
    *,
    sure: bool,
) -> Cell:
    """gains, times: by seed, of which both are taken where both are known. size: of what a rate
    is given for, in seconds or multiply-adds."""
    seeds = sorted(gains.keys() & times.keys())
    gain, extra = (interval([of[seed] for seed in seeds]) for of in (gains, times))
    if gain is None or extra is None:
        return number(None)
    work = reference.currency == "work"
    share = _LEAST_SHARE * (reference.until_weights() or 0.0)
    least = share if work else max(_LEAST_SECONDS, share)
    if extra.mean <= 0:
        none = "no more work" if work else "no longer: there is no extra time"
        return Cell(text="–", detail=f"it took {none}")
    if work and extra.mean < least:
        return Cell(text="–", detail=f"the extra work is below {macs(least)}")
    if extra.mean < least:
        # Against random weights all of the time is extra, and there is no doubt of it.
        why = "too short to extrapolate to an hour" if reference.is_control else "measurement noise"
        return Cell(text="–", detail=f"the extra time is below {least:.0f} s: {why}")
    cell = number(gain.mean / (extra.mean / size), 1, signed=True)
    # Work is counted and not measured.
    longer = work or reference.is_control or (extra.ci95 is not None and extra.ci95[0] > 0)
    sure = sure and longer
    others = seeds != sorted(times) or seeds != sorted(gains)
    taken = macs(extra.mean) if work else duration(extra.mean)
    detail = (
        f"{gain.mean:+z.1f} in {taken}, of seed{'' if len(seeds) == 1 else 's'} "
        f"{', '.join(map(str, seeds))}"
    )
    return Cell(
        text=cell.text if sure else f"({cell.text})",
        sort=cell.sort,
        detail=detail if others else "",
    )
