"""Which classes a trick helps and which it harms, and what is mistaken for what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from eval.image_bootstrap import ByImage
from eval.intervals import interval
from eval.records import Record, TaskName
from eval.sections.classifiers import (
    PLAIN,
    TOP1,
    Unseen,
    by_backbone,
    other_tuning,
    see,
    short,
    top1_of,
)
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    common,
    how_measured,
    judged,
    references,
    surest_first,
    told,
)
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Plot, Section, number
from eval.significance import paired_t
from eval.specs import tuning_of

_MOST_NAMED = 3
_MOST_BARS = 12
_MOST_PAIRS = 15
_LONGEST_CLASS = 24

_PerClass = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Change:
    """Top-1 of each class minus the reference's of the seeds that both have, in points."""

    backbone: str
    reference: str
    seeds: tuple[int, ...]
    classes: dict[str, Difference]

    @property
    def ranked(self) -> list[str]:
        """Largest gain first."""
        return sorted(self.classes, key=lambda name: -self.classes[name].mean)

    @property
    def gains(self) -> list[str]:
        """Those with evidence first, of each the largest first."""
        return [name for name in surest_first(self.classes) if self.classes[name].mean > 0]

    @property
    def losses(self) -> list[str]:
        return [name for name in surest_first(self.classes) if self.classes[name].mean < 0]

    @property
    def sure(self) -> int | None:
        """How many differ beyond chance; None where nothing can tell."""
        if all(found.p_value is None for found in self.classes.values()):
            return None
        return sum(found.sure for found in self.classes.values())


def section(material: Material) -> Section | None:
    """Per-class top-1 of each classifier minus that of the row it is compared with; confusions."""
    return _section(material, "classification", key="class-change", title="Classes")


def own_section(material: Material) -> Section | None:
    """The same of fine-tuned classifiers."""
    return _section(material, "finetune", key="own-class-change", title="Your images: classes")


def _section(material: Material, task: TaskName, *, key: str, title: str) -> Section | None:
    rows = by_backbone(material.of_task(task))
    if not rows:
        return None
    of = references(material, task, list(rows))
    if task == "finetune" and not material.table.baseline_chosen:
        of |= _other_tunings(rows)
    others = [name for name in rows if of[name] not in (None, name)]
    left_out: list[str] = []
    unseen = Unseen()
    look = _Looking(material, unseen)
    changes = []
    for backbone in others:
        reference = of[backbone]
        assert reference is not None
        change = _change(backbone, reference, rows, look)
        if change is None:
            left_out.append(
                f"{backbone}: no seed of which both it and {reference} have a top-1 of each class"
            )
        else:
            changes.append(change)
    if all(of[name] is None for name in rows):
        left_out.append(
            f"{material.table.reference} has no top-1: nothing to compare the classes with"
        )
    elif len(rows) == 1:
        left_out.append("one row only: there is no other classifier to compare its classes with")
    top1 = top1_of({name: rows[name] for name in others})
    best = max(changes, key=lambda change: top1.get(change.backbone, -1.0), default=None)
    most = best.backbone if best else max(others, key=lambda n: top1.get(n, -1.0), default=None)
    reference = (of[most] if most else None) or next(iter(rows))
    confused = _confusions(look, rows, reference, most)
    blocks = [_changes_grid(changes)] if changes else []
    plots = [_plot(best)] if best is not None else []
    return Section(
        key=key,
        title=title,
        lead=_lead(best, reference, len(changes)),
        blocks=(*plots, *blocks, *confused),
        left_out=(*_few(left_out), *unseen.in_words()),
    )


def _other_tunings(rows: Mapping[str, Sequence[Record]]) -> dict[str, str]:
    """Rows of which there are several fine-tunings -> the plain one; the best where there is none,
    for which it is the next best."""
    top1 = top1_of(rows)
    ranked = sorted(rows, key=lambda name: -top1.get(name, -1.0))
    found = {name: other for name in rows if (other := other_tuning(name, ranked)) is not None}
    return {name: name if tuning_of(name) == PLAIN else other for name, other in found.items()}


@dataclass(frozen=True, kw_only=True)
class _Answered:
    """images: tells a list of them from others. label, prediction: (n,) places in classes."""

    classes: tuple[str, ...]
    images: int
    label: npt.NDArray[np.int32]
    prediction: npt.NDArray[np.int32]

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        found: npt.NDArray[np.bool_] = self.prediction == self.label
        return found


class _Looking:
    """Reads each record once, and keeps the little that is needed of it."""

    def __init__(self, material: Material, unseen: Unseen) -> None:
        self._material, self._unseen = material, unseen
        self._known: dict[str, _Answered | None] = {}

    def __call__(self, record: Record) -> _Answered | None:
        if record.key not in self._known:
            seen = see(self._material, record, self._unseen)
            self._known[record.key] = (
                None
                if seen is None
                else _Answered(
                    classes=seen.evidence.classes,
                    images=hash(seen.evidence.images),
                    label=seen.answers.label,
                    prediction=seen.answers.prediction,
                )
            )
        return self._known[record.key]


def _few(lines: list[str]) -> list[str]:
    most = 2 * _MOST_NAMED
    return lines if len(lines) <= most else [*lines[:most], f"and {len(lines) - most} more rows"]


def _per_class(record: Record) -> _PerClass:
    found = record.per_class.get(TOP1[record.task], {})
    return {name: value for name, value in found.items() if value is not None}


def _change(
    backbone: str, reference: str, rows: Mapping[str, Sequence[Record]], look: _Looking
) -> _Change | None:
    records = [{r.seed: r for r in rows[name]} for name in (backbone, reference)]
    values = [{seed: _per_class(record) for seed, record in of.items()} for of in records]
    differences = common(*values)
    if not differences:
        return None
    seeds = tuple(s for s in sorted(values[0].keys() & values[1]) if values[0][s] and values[1][s])
    by_image = {}
    if len(seeds) == 1:
        own, other = (look(of[seeds[0]]) for of in records)
        by_image = {} if own is None or other is None else _by_image(own, other)
    classes = judged(differences, by_image)
    return _Change(backbone=backbone, reference=reference, seeds=seeds, classes=classes)


def _by_image(own: _Answered, other: _Answered) -> dict[str, ByImage]:
    """Of each class: Student's interval and test of right minus right (-1, 0 or 1) over its images.

    Nothing where the two saw other images.
    """
    same = (own.images, own.classes) == (other.images, other.classes)
    if not same or not np.array_equal(own.label, other.label):
        return {}
    change = 100.0 * (own.right.astype(int) - other.right)
    found = {}
    for label in np.unique(own.label).tolist():
        values = change[own.label == label].tolist()
        spread = interval(values)
        if spread is not None and spread.ci95 is not None:
            found[own.classes[label]] = ByImage(
                mean=spread.mean,
                ci95=spread.ci95,
                n_images=spread.n,
                p_value=paired_t(values),
            )
    return found


def _lead(best: _Change | None, reference: str, count: int) -> str:
    if best is None:
        return (
            f"What {reference} mistakes for what; there is no row to compare it with, class by "
            "class."
        )
    which = f", the best of {count} rows," if count > 1 else ""
    return (
        f"{best.backbone}{which} compared with {best.reference}: "
        f"{told(best.classes, 'class', 'classes')}."
    )


def _changes_grid(changes: Sequence[_Change]) -> Grid:
    names = {change.reference for change in changes}
    several = len(names) > 1
    reference = "the row that each is compared with" if several else names.pop()
    every = [found for change in changes for found in change.classes.values()]
    return Grid(
        caption=f"Top-1 of each class minus that of {reference}, in points; means over the seeds "
        "that both have",
        header=(
            "backbone",
            *(("compared with",) if several else ()),
            "mean over the classes",
            "classes better",
            "classes worse",
            "beyond chance",
            "gains",
            "losses",
            "seeds",
        ),
        rows=tuple(
            (
                Cell(text=change.backbone),
                *((Cell(text=change.reference),) if several else ()),
                number(float(np.mean([v.mean for v in change.classes.values()])), signed=True),
                number(len(change.gains), 0),
                number(len(change.losses), 0),
                number(change.sure, 0),
                _named(change, change.gains),
                _named(change, change.losses),
                number(len(change.seeds), 0),
            )
            for change in changes
        ),
        notes=(
            f"{how_measured(every)}. {BEYOND_CHANCE} the classes of a row. Gains and losses: those "
            "beyond chance first, then the largest, which are large by chance too: they were "
            "picked out of many.",
        ),
    )


def _named(change: _Change, names: Sequence[str]) -> Cell:
    if not names:
        return Cell(text="–")
    said = ", ".join(
        f"{short(name, _LONGEST_CLASS)} {change.classes[name].text}" for name in names[:_MOST_NAMED]
    )
    return Cell(text=said, sort=change.classes[names[0]].mean)


def _plot(change: _Change) -> Plot:
    ranked = change.ranked
    shown = ranked
    which = "of each class"
    if len(ranked) > 2 * _MOST_BARS:
        shown = [*ranked[:_MOST_BARS], *ranked[-_MOST_BARS:]]
        which = f"of the {_MOST_BARS} classes at either end of {len(ranked)}"
    said = "; ".join(f"{short(n, _LONGEST_CLASS)} {change.classes[n].mean:+z.1f}" for n in shown)
    over = {found.by for found in change.classes.values() if found.ci95 is not None}
    with_intervals = {
        frozenset({"seeds"}): ", with 95% intervals over the seeds",
        frozenset({"images"}): ", with 95% intervals over the images of one seed",
    }
    return Plot(
        caption=f"Top-1 {which}: {change.backbone} minus {change.reference}, points"
        + with_intervals.get(frozenset(over), ""),
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
    look: _Looking, rows: Mapping[str, Sequence[Record]], reference: str, best: str | None
) -> list[Grid]:
    found = {}
    for backbone in dict.fromkeys((best or reference, reference)):
        confusions = _confused(look, rows[backbone])
        if confusions.seeds:
            found[backbone] = confusions
    if not any(confusions.pairs for confusions in found.values()):
        return []
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
    return [grid]


def _confused(look: _Looking, records: Sequence[Record]) -> _Confusions:
    found = _Confusions(pairs=Counter(), labels=Counter())
    for record in records:
        if (seen := look(record)) is None:
            continue
        found.seeds += 1
        classes = seen.classes
        for label, count in zip(*np.unique(seen.label, return_counts=True), strict=True):
            found.labels[classes[label]] += int(count)
        wrong = ~seen.right
        codes = seen.label[wrong].astype(np.int64) * len(classes) + seen.prediction[wrong]
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
