"""What the rows of a table are made of, from records alone: tricks, knobs, and all else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from json import loads
from typing import Any

from classification.derived import find_recipe
from classification.names import parse_backbone
from classification.recipe import Recipe
from classification.recipes import FINE_TUNING
from classification.tricks import TRICKS
from eval.records import Record, canonical
from eval.specs import tuning_of

Trick = tuple[str, str]
"""(name, knobs as text): two that differ in a knob are two tricks."""
Tricks = frozenset[Trick]
_Numbers = frozenset[tuple[str, str]]
"""(name, value as text) of each number of a recipe, `optimizer.learning_rate` and the like."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """One backbone and what its recipe is made of.

    setting: all else that its training depends on, architecture and data; of a row with a recipe
    of fine-tuning, whose tricks these then are, the backbone's weights too. Only rows of one
    setting are compared. base: of the recipe, where it is known; where it is not, the numbers that
    its pretraining recorded stand for it.
    """

    backbone: str
    setting: str
    tricks: Tricks
    base: str | None = None
    numbers: _Numbers = frozenset()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(name for name, _ in self.tricks)

    def differs_by_tricks_alone(self, other: Made) -> bool:
        """Whether all but the tricks is the same: setting and base.

        Where a base is not known: setting, and the recipes' numbers without those that the tricks
        set which only one of the two has.
        """
        if self.setting != other.setting:
            return False
        if self.base is not None and other.base is not None:
            return self.base == other.base
        differing = {name for name, _ in self.numbers ^ other.numbers}
        return not differing or differing <= _numbers_set_by(self.tricks ^ other.tricks)


class Distinct:
    """Rows without those that repeat the training of an earlier one, found by their tricks."""

    def __init__(self, rows: Iterable[Made]) -> None:
        self._by_tricks: dict[tuple[str, Tricks], list[Made]] = {}
        self.rows: list[Made] = []
        for row in rows:
            if self.like(row, row.tricks) is None:
                self._by_tricks.setdefault((row.setting, row.tricks), []).append(row)
                self.rows.append(row)

    def like(self, row: Made, tricks: Tricks) -> Made | None:
        """The first one with these tricks that is otherwise as `row`."""
        candidates = self._by_tricks.get((row.setting, tricks), ())
        return next((one for one in candidates if row.differs_by_tricks_alone(one)), None)


def known_rows(records: Iterable[Record]) -> tuple[dict[str, Made], list[str]]:
    """backbone -> what it is made of; and the backbones with tricks of which that is not known."""
    records = [record for record in records if not record.backbone.startswith("scratch:")]
    known: dict[str, Made] = {}
    for record in records:
        if record.backbone not in known:
            made = _of_training(record)
            if made is not None:
                known[record.backbone] = made
    unknown = []
    for record in {record.backbone: record for record in records}.values():
        if record.backbone in known:
            continue
        made = _of_name(record.backbone)
        if made is not None:
            known[record.backbone] = made
        elif record.tricks:
            unknown.append(record.backbone)
    return known, unknown


def _of_training(record: Record) -> Made | None:
    """From what the training that its name speaks of recorded of itself; None for any other."""
    tuning = tuning_of(record.backbone)
    if record.task != ("classification" if tuning is None else "finetune"):
        return None
    recipe = record.protocol.get("recipe")
    tricks = recipe.get("tricks") if isinstance(recipe, dict) else None
    if not isinstance(recipe, dict) or not isinstance(tricks, dict):
        return None
    if tuning is None:
        keys = ("architecture", "width", "budget", "data")
        named = {key: record.protocol.get(key) for key in keys}
        found = _recipe_of(record.backbone)
        base = None if found is None else found[1].base
    else:
        named = {key: record.protocol.get(key) for key in ("budget", "division", "data")}
        named["lineage"] = record.lineage
        base = _tuning_base(tuning)
    return Made(
        backbone=record.backbone,
        setting=canonical(named),
        tricks=_frozen(tricks),
        base=None if base is None else base.digest(),
        numbers=_numbers_of(recipe),
    )


def _of_name(backbone: str) -> Made | None:
    """From what the name says today; None for a name of no recipe of ours."""
    if (found := _recipe_of(backbone)) is None:
        return None
    architecture, recipe = found
    return Made(
        backbone=backbone,
        setting=architecture,
        tricks=_frozen(recipe.canonical()["tricks"]),
        base=recipe.base.digest(),
        numbers=_numbers_of(recipe.canonical()),
    )


def _tuning_base(name: str) -> Recipe | None:
    try:
        return find_recipe(name, FINE_TUNING).base
    except ValueError:
        return None


def _recipe_of(backbone: str) -> tuple[str, Recipe] | None:
    try:
        architecture, name = parse_backbone(backbone)
        return architecture, find_recipe(name)
    except ValueError:
        return None


def _frozen(tricks: Mapping[str, Any]) -> Tricks:
    return frozenset((name, canonical(knobs)) for name, knobs in tricks.items())


def _numbers_of(recipe: Mapping[str, Any]) -> _Numbers:
    """Of a recipe as plain JSON; those of its optimizer, schedule and augmentation one by one."""
    found: dict[str, Any] = {}
    for name, value in recipe.items():
        if name == "tricks":
            continue
        if isinstance(value, dict):
            found |= {f"{name}.{part}": inner for part, inner in value.items()}
        else:
            found[name] = value
    return frozenset((name, canonical(value)) for name, value in found.items())


@lru_cache(maxsize=1024)
def _numbers_set_by(tricks: Tricks) -> frozenset[str]:
    """Names of the numbers that these tricks change in a recipe of defaults. Of a trick that is not
    known here it is not known, and so none."""
    plain = Recipe()
    before = _numbers_of(plain.canonical())
    changed: set[tuple[str, str]] = set()
    for name, knobs in tricks:
        if name in TRICKS:
            with suppress(Exception):  # a record may hold any knobs, and these are the trick's code
                after = TRICKS[name](**loads(knobs)).apply(plain)
                changed |= before ^ _numbers_of(after.canonical())
    return frozenset(name for name, _ in changed)
