"""Which classes a trick helps and which it harms, and what is mistaken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from eval.intervals import Interval, interval
from eval.records import Record
from eval.sections.classifiers import (
    Unseen,
    by_backbone,
    see,
    short,
    top1_of,
)
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Plot, Section, number
from eval.significance import LEVEL, holm, paired_t

_MOST_NAMED = 3
_MOST_BARS = 12
_MOST_PAIRS = 15
_LONGEST_CLASS = 24

_PerClass = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Change:
    """Top-1 of each class minus the reference's of the same seeds, in points.

    classes: name -> interval of the difference. sure: those that differ beyond chance, corrected
    over the classes; None where there are too few seeds to tell.
    """

    backbone: str
    seeds: tuple[int, ...]
    classes: dict[str, Interval]
    sure: tuple[str, ...] | None

    @property
    def ranked(self) -> list[str]:
        """Largest gain first."""
        return sorted(self.classes, key=lambda name: -self.classes[name].mean)

    @property
    def gains(self) -> list[str]:
        return [name for name in self.ranked if self.classes[name].mean > 0]

    @property
    def losses(self) -> list[str]:
        """Largest first."""
        return [name for name in self.ranked[::-1] if self.classes[name].mean < 0]


def section(material: Material) -> Section | None:
    """Per-class top-1 of each classifier minus that of the first trained row, and confusions."""
    rows = by_backbone(material.of_task("classification"))
    if not rows:
        return None
    reference, *others = rows
    left_out: list[str] = []
    base = {record.seed: _per_class(record) for record in rows[reference]}
    changes = []
    for backbone in others:
        change = _change(backbone, {r.seed: _per_class(r) for r in rows[backbone]}, base)
        if change is None:
            left_out.append(
                f"{backbone}: no seed of which both it and {reference} have a top-1 of each class"
            )
        else:
            changes.append(change)
    if not others:
        left_out.append("one row only: there is no other classifier to compare its classes with")
    top1 = top1_of({name: rows[name] for name in others})
    best = max(changes, key=lambda change: top1.get(change.backbone, -1.0), default=None)
    most = best.backbone if best else max(others, key=lambda n: top1.get(n, -1.0), default=None)
    confused, unseen = _confusions(material, rows, reference, most)
    blocks = [_changes_grid(changes, reference)] if changes else []
    plots = [_plot(best, reference)] if best is not None else []
    return Section(
        key="class-change",
        title="Classes",
        lead=_lead(best, reference, len(changes)),
        blocks=(*plots, *blocks, *confused),
        left_out=(*_few(left_out), *unseen.in_words()),
    )


def _few(lines: list[str]) -> list[str]:
    most = 2 * _MOST_NAMED
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more rows"]


def _per_class(record: Record) -> _PerClass:
    found = record.per_class.get("top1", {})
    return {name: value for name, value in found.items() if value is not None}


def _change(
    backbone: str, values: Mapping[int, _PerClass], base: Mapping[int, _PerClass]
) -> _Change | None:
    differences: dict[str, list[float]] = {}
    seeds = [seed for seed in sorted(values) if base.get(seed) and values[seed]]
    for seed in seeds:
        for name, value in values[seed].items():
            if name in base[seed]:
                differences.setdefault(name, []).append(value - base[seed][name])
    classes = {name: interval(found) for name, found in differences.items()}
    known = {name: value for name, value in classes.items() if value is not None}
    if not known:
        return None
    sure = None
    if len(seeds) > 1:
        corrected = holm([paired_t(differences[name]) for name in known])
        sure = tuple(
            name for name, p in zip(known, corrected, strict=True) if p is not None and p < LEVEL
        )
    return _Change(backbone=backbone, seeds=tuple(seeds), classes=known, sure=sure)


def _lead(best: _Change | None, reference: str, count: int) -> str:
    if best is None:
        return (
            f"What {reference} mistakes for what; there is no other row to compare with, class by "
            "class."
        )
    said = [
        f"{short(names[0], _LONGEST_CLASS)} {what} most ({best.classes[names[0]].mean:+.1f} points)"
        for names, what in ((best.gains, "gains"), (best.losses, "loses"))
        if names
    ]
    most = (
        f"{best.backbone}{f', the best of {count} rows,' if count > 1 else ''} against "
        f"{reference}: "
        f"{'; '.join(said) or 'no class changes'}"
    )
    if best.sure is None:
        return f"{most}. One seed cannot tell this from what another seed would show."
    if not best.sure:
        return f"{most}. There is no evidence that any single class changes."
    named = ", ".join(short(name, _LONGEST_CLASS) for name in best.sure[:_MOST_NAMED])
    return (
        f"{most}. {len(best.sure)} of {len(best.classes)} classes "
        f"change beyond chance: {named}{' and others' if len(best.sure) > _MOST_NAMED else ''}."
    )


def _changes_grid(changes: Sequence[_Change], reference: str) -> Grid:
    return Grid(
        caption=f"Top-1 of each class minus that of {reference}, the first trained row of the "
        "table, in points; mean over the seeds that both have ± half of the 95% interval",
        header=(
            "backbone",
            "mean over the classes",
            "classes better",
            "classes worse",
            "beyond chance",
            "largest gains",
            "largest losses",
            "seeds",
        ),
        rows=tuple(
            (
                Cell(text=change.backbone),
                number(float(np.mean([v.mean for v in change.classes.values()])), signed=True),
                number(len(change.gains), 0),
                number(len(change.losses), 0),
                number(None if change.sure is None else len(change.sure), 0),
                _named(change, change.gains),
                _named(change, change.losses),
                number(len(change.seeds), 0),
            )
            for change in changes
        ),
        notes=(
            "Beyond chance: classes whose difference by seed is not 0 by a paired t-test, "
            "corrected over the classes (Holm, 0.05); a dash for one seed. The largest differences "
            "are large by chance too: they were picked out of many.",
        ),
    )


def _named(change: _Change, names: Sequence[str]) -> Cell:
    if not names:
        return Cell(text="–")
    said = ", ".join(
        f"{short(name, _LONGEST_CLASS)} {_with_half(change.classes[name])}"
        for name in names[:_MOST_NAMED]
    )
    return Cell(text=said, sort=change.classes[names[0]].mean)


def _with_half(value: Interval) -> str:
    mean = f"{value.mean:+.1f}"
    return mean if value.ci95 is None else f"{mean} ± {value.ci95[1] - value.mean:.1f}"


def _plot(change: _Change, reference: str) -> Plot:
    ranked = change.ranked
    shown = ranked
    which = "of each class"
    if len(ranked) > 2 * _MOST_BARS:
        shown = [*ranked[:_MOST_BARS], *ranked[-_MOST_BARS:]]
        which = f"of the {_MOST_BARS} classes at either end of {len(ranked)}"
    said = "; ".join(f"{short(n, _LONGEST_CLASS)} {change.classes[n].mean:+.1f}" for n in shown)
    return Plot(
        caption=f"Top-1 {which}: {change.backbone} minus {reference}, points"
        + ("" if len(change.seeds) == 1 else ", with 95% intervals over the seeds"),
        alt=f"Bars, one for each class: {said}.",
        draw=_draw(change, shown),
        size=(6.4, 0.9 + 0.24 * len(shown)),
    )


def _draw(change: _Change, shown: Sequence[str]) -> Callable[[Any], None]:
    def draw(figure: Any) -> None:
        axes = figure.subplots()
        values = [change.classes[name] for name in shown]
        means = np.array([value.mean for value in values])
        places = np.arange(len(shown))
        axes.barh(places, means, 0.7, color=["C0" if mean >= 0 else "C1" for mean in means])
        halves = [0.0 if v.ci95 is None else v.ci95[1] - v.mean for v in values]
        if any(halves):
            axes.errorbar(
                means, places, xerr=halves, fmt="none", ecolor="#7f7f7f", lw=1.2, capsize=2
            )
        axes.axvline(0, lw=0.8, color="#7f7f7f")
        axes.set_yticks(places, [short(name, _LONGEST_CLASS) for name in shown])
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        axes.set_xlabel("change of top-1, points")

    return draw


@dataclass
class _Confusions:
    """Of one backbone: how often a label was taken for another class, and came at all."""

    pairs: Counter[tuple[str, str]]
    labels: Counter[str]
    seeds: int = 0


def _confusions(
    material: Material, rows: Mapping[str, Sequence[Record]], reference: str, best: str | None
) -> tuple[list[Grid], Unseen]:
    unseen = Unseen()
    found = {}
    for backbone in dict.fromkeys((best or reference, reference)):
        confusions = _confused(material, rows[backbone], unseen)
        if confusions.seeds:
            found[backbone] = confusions
    if not any(confusions.pairs for confusions in found.values()):
        return [], unseen
    # A count of images for each seed, so that rows of several and of one seed weigh the same.
    total: dict[tuple[str, str], float] = {}
    for confusions in found.values():
        for pair, count in confusions.pairs.items():
            total[pair] = total.get(pair, 0.0) + count / confusions.seeds
    most = sorted(total, key=lambda pair: (-total[pair], pair))[:_MOST_PAIRS]
    grid = Grid(
        caption="What is most often mistaken for what: images a seed, and their share of the "
        "label's images",
        header=("label", "taken for", *found),
        rows=tuple(
            (
                Cell(text=short(label, _LONGEST_CLASS)),
                Cell(text=short(prediction, _LONGEST_CLASS)),
                *(_times(confusions, (label, prediction)) for confusions in found.values()),
            )
            for label, prediction in most
        ),
    )
    return [grid], unseen


def _confused(material: Material, records: Sequence[Record], unseen: Unseen) -> _Confusions:
    found = _Confusions(pairs=Counter(), labels=Counter())
    for record in records:
        if (seen := see(material, record, unseen)) is None:
            continue
        found.seeds += 1
        classes, answers = seen.evidence.classes, seen.answers
        for label, count in zip(*np.unique(answers.label, return_counts=True), strict=True):
            found.labels[classes[label]] += int(count)
        wrong = ~answers.right
        codes = answers.label[wrong].astype(np.int64) * len(classes) + answers.prediction[wrong]
        for code, count in zip(*np.unique(codes, return_counts=True), strict=True):
            label, prediction = divmod(int(code), len(classes))
            found.pairs[classes[label], classes[prediction]] += int(count)
    return found


def _times(confusions: _Confusions, pair: tuple[str, str]) -> Cell:
    count = confusions.pairs[pair] / confusions.seeds
    images = confusions.labels[pair[0]]
    if not images:
        return number(None)
    share = 100 * confusions.pairs[pair] / images
    return Cell(text=f"{count:.1f} ({share:.1f}%)".replace(".0 (", " ("), sort=count)
