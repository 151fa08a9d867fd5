"""Pairs of rows that say what a trick is worth: of one architecture, with it and without it.

Nobody has to have asked for an ablation: whichever two recipes differ by exactly one trick, all
knobs of the others equal, are a pair. What the other tricks are is the pair's context. Where one
differs by more and no third row lies between, these tricks are a bundle, and judged together.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from json import loads

from classification.tricks import TRICKS
from eval.made import Distinct, Made, Trick, Tricks
from eval.records import canonical

Values = Mapping[str, Mapping[int, float]]
"""backbone -> seed -> value"""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two backbones whose recipes differ by `trick` alone: its name, and the knobs that tell it
    from other tricks of that name. bundle: these of each trick, where they are several; `trick`
    then is all of them, "mixup + epochs"."""

    trick: str
    having: str
    lacking: str
    bundle: tuple[str, ...] = ()


def find_pairs(rows: Iterable[Made], values: Values) -> list[Pair]:
    """All pairs of rows with a seed in common, in the order of those that have the trick; those of
    bundles come last.

    values: of one metric. Only rows that have some are looked at; the others give their tricks
    their names alone, which so are the same for all metrics.
    """
    rows = list(rows)
    names = _names_of({trick for row in rows for trick in row.tricks})
    distinct = Distinct(row for row in rows if values.get(row.backbone))
    settings: dict[str, list[Made]] = {}
    for row in sorted(distinct.rows, key=lambda row: -len(row.tricks)):
        settings.setdefault(row.setting, []).append(row)
    found = [
        _pair(row, lacking, names)
        for row in distinct.rows
        for lacking in _next_below(row, settings[row.setting], values)
    ]
    return sorted(found, key=lambda pair: len(pair.bundle) > 1)


def _next_below(row: Made, candidates: Iterable[Made], values: Values) -> list[Made]:
    """Rows that lack some of its tricks and no more, with no other one of `candidates` between.

    candidates: of one setting, those with most tricks first. Rows without a common seed tell
    nothing of each other: what lies between has one with both ends. Those that lack one trick are
    sorted by its name.
    """
    seeds = values[row.backbone].keys()
    below: list[Made] = []
    found: list[Made] = []
    for other in candidates:
        if not other.tricks < row.tricks or not row.differs_by_tricks_alone(other):
            continue
        of_other = values[other.backbone].keys()
        if seeds.isdisjoint(of_other):
            continue
        above = [one for one in below if other.tricks <= one.tricks]
        between = any(
            one.tricks == other.tricks
            or (
                one.differs_by_tricks_alone(other) and not of_other.isdisjoint(values[one.backbone])
            )
            for one in above
        )
        below.append(other)
        if not between:
            found.append(other)
    return sorted(found, key=lambda other: sorted(row.tricks - other.tricks))


def _pair(having: Made, lacking: Made, names: dict[Trick, str]) -> Pair:
    added = [names[trick] for trick in _as_listed(having.tricks - lacking.tricks)]
    return Pair(
        trick=" + ".join(added),
        having=having.backbone,
        lacking=lacking.backbone,
        bundle=tuple(added) if len(added) > 1 else (),
    )


def _as_listed(tricks: Tricks) -> list[Trick]:
    """Those that change what is learned before those that change how long: as recipes do."""
    places = {name: place for place, name in enumerate(TRICKS)}
    return sorted(tricks, key=lambda t: (t[0] == "epochs", places.get(t[0], len(places)), t))


def _names_of(tricks: Iterable[Trick]) -> dict[Trick, str]:
    """Each trick's name, and where several have it, the knobs in which they differ:
    `label_noise(0.2)`."""
    knobs: dict[str, dict[Trick, dict[str, str]]] = {}
    for trick in tricks:
        given = loads(trick[1])
        shown = given if isinstance(given, dict) else {"": given}
        knobs.setdefault(trick[0], {})[trick] = {
            knob: value if isinstance(value, str) else canonical(value)
            for knob, value in shown.items()
        }
    found = {}
    for name, of_name in knobs.items():
        differing = {
            knob
            for one in of_name.values()
            for knob in one
            if any(other.get(knob) != one[knob] for other in of_name.values())
        }
        for trick, given in of_name.items():
            said = [
                value if len(given) == 1 else f"{knob}={value}"
                for knob, value in given.items()
                if knob in differing
            ]
            found[trick] = f"{name}({', '.join(said)})" if said else name
    return found
