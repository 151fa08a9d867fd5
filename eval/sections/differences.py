"""Differences between two rows in a section's own numbers, and how sure they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from eval.intervals import interval
from eval.sections.by_backbone import short
from eval.sections.material import Material
from eval.sections.section import Cell, number
from eval.significance import LEVEL, holm, paired_t
from eval.text import in_one_line

if TYPE_CHECKING:
    from eval.image_bootstrap import ByImage
    from eval.records import TaskName

_MOST_NAMED = 3

BEYOND_CHANCE = "*: beyond chance, p < 0.05 after Holm's correction over"
"""Begins the note below a grid of `difference_cell`s; goes on with what it was corrected over."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Of one number, the mean over n common seeds. ci95: None where nothing tells.

    by: what the interval and the test are over. p_value: corrected over all that were judged
    together (Holm); None where there is no test.
    """

    mean: float
    n: int
    ci95: tuple[float, float] | None
    by: Literal["seeds", "images"]
    p_value: float | None

    @property
    def sure(self) -> bool:
        return self.p_value is not None and self.p_value < LEVEL and self.mean != 0

    @property
    def untested(self) -> bool:
        """One seed, whose images were not asked."""
        return self.n == 1 and self.by == "seeds"

    @property
    def text(self) -> str:
        """`+1.2 ± 0.5 *`, half of the 95% interval; its bounds where it lies aside, as by images;
        `+1.2 not tested` of one seed, `+1.2 no evidence` of equal differences."""
        mean = number(self.mean, 1, signed=True).text
        if self.ci95 is None or self.p_value is None:
            return f"{mean} {'not tested' if self.untested else 'no evidence'}"
        star = " *" if self.sure else ""
        if self.by == "images":
            low, high = (number(bound, 1, signed=True).text for bound in self.ci95)
            return f"{mean} ({low} to {high}){star}"
        return f"{mean} ± {number((self.ci95[1] - self.ci95[0]) / 2).text}{star}"


def common(
    own: Mapping[int, Mapping[str, float | None]], other: Mapping[int, Mapping[str, float | None]]
) -> dict[str, list[float]]:
    """name -> own minus other of each seed that both have; seed -> name -> value are given."""
    found: dict[str, list[float]] = {}
    for seed in sorted(own.keys() & other):
        for name, value in own[seed].items():
            base = other[seed].get(name)
            if value is not None and base is not None:
                found.setdefault(name, []).append(value - base)
    return found


def judged(
    by_seed: Mapping[str, Sequence[float]], by_image: Mapping[str, ByImage] | None = None
) -> dict[str, Difference]:
    """name -> how sure its differences of several seeds are; corrected over the names (Holm).

    Several seeds by Student's interval and test; one alone by its images, where that is given.
    """
    plain = {}
    for name, values in by_seed.items():
        if (found := interval(values)) is None:
            continue
        images = None if by_image is None or found.n > 1 else by_image.get(name)
        plain[name] = (
            (found.mean, found.n, found.ci95, "seeds", paired_t(values))
            if images is None
            else (found.mean, found.n, images.ci95, "images", images.p_value)
        )
    corrected = holm([p_value for *_, p_value in plain.values()])
    return {
        name: Difference(mean=mean, n=n, ci95=ci95, by=by, p_value=p_value)  # type: ignore[arg-type]
        for (name, (mean, n, ci95, by, _)), p_value in zip(plain.items(), corrected, strict=True)
    }


def difference_cell(found: Difference | None, *, detail: bool = True) -> Cell:
    """A dash for None. detail: what it rests on stands behind it, on demand."""
    if found is None:
        return number(None)
    said = "one common seed, not tested" if found.untested else ""
    if found.p_value is not None:
        seeds = f"{found.n} common seed{'' if found.n == 1 else 's'}"
        shown = f"= {found.p_value:.3f}" if found.p_value >= 0.0005 else "< 0.001"
        said = f"{seeds}, p {shown} corrected"
    return Cell(text=found.text, sort=found.mean, detail=said if detail else "")


def told(found: Mapping[str, Difference], one: str, many: str, unit: str = "points") -> str:
    """`2 of 10 classes change beyond chance: cat +3.1 ± 0.4, dog ... (points)`, or that none does
    and which differs most. one, many: what the names are, `class` and `classes`."""
    ranked = surest_first(found)
    sure = [name for name in ranked if found[name].sure]
    if not ranked:
        return f"no {one} can be compared"
    if all(each.untested for each in found.values()):
        return (
            f"of one seed, {many} are not tested; the largest difference is in "
            f"{short(ranked[0])}, {found[ranked[0]].mean:+z.1f} {unit}"
        )
    if not sure:
        most = found[ranked[0]]
        text = f"{most.mean:+z.1f} {unit}" if most.p_value is None else f"{most.text} {unit}"
        return (
            f"no evidence that any single {one} changes; the largest difference is in "
            f"{short(ranked[0])}, {text}"
        )
    named = ", ".join(f"{short(name)} {found[name].text[:-2]}" for name in sure[:_MOST_NAMED])
    more = f" and {len(sure) - _MOST_NAMED} more" if len(sure) > _MOST_NAMED else ""
    of = f"{len(sure)} of {len(found)} {many} change"
    images = any(found[name].by == "images" for name in sure)
    chance = "beyond chance of the test images, of one seed" if images else "beyond chance"
    return f"{of} {chance}: {named}{more} ({unit})"


def none_differs(found: Iterable[Difference]) -> str:
    """Of differences none of which is sure."""
    if all(each.untested for each in found):
        return "of one seed, not tested whether any differs"
    return "no evidence that any differs"


def surest_first(found: Mapping[str, Difference]) -> list[str]:
    """Names: those with evidence, then the others; of each the largest difference first."""
    return sorted(found, key=lambda name: (not found[name].sure, -abs(found[name].mean)))


def how_measured(found: Iterable[Difference]) -> str:
    """What the intervals of a grid are, for its note."""
    every = list(found)
    kinds = {(each.by, each.ci95 is None or each.p_value is None) for each in every}
    said = []
    if ("seeds", False) in kinds:
        said.append("± half of Student's 95% interval over the seeds that both rows have")
    if ("images", False) in kinds:
        said.append("in brackets the 95% interval over the test images, of the one common seed")
    unknown = [each for each in every if each.ci95 is None or each.p_value is None]
    if any(each.untested for each in unknown):
        said.append("not tested: one common seed")
    if not all(each.untested for each in unknown):
        said.append(
            '"no evidence": all seeds, or all test images, differ by the same, so that there is no '
            "spread to test against"
        )
    words = "; ".join(said) or "no seed is common"
    return words[:1].upper() + words[1:]


SEVERAL = "the control, plain fine-tuning, or the plainest row of its architecture"
"""What rows of several references are compared with, in words: see `Material.reference_row`."""


def reference_of(compared: Iterable[str], of: Mapping[str, str | None]) -> str:
    """What these rows are compared with, in words. of: see `references`; it may know more rows,
    which are compared with nothing but themselves."""
    names = {of[name] for name in compared}
    return in_one_line(names.pop() or "") if len(names) == 1 else SEVERAL


def references(
    material: Material, task: TaskName, backbones: Sequence[str]
) -> dict[str, str | None]:
    """backbone -> the row that it is compared with; itself for one that others are."""
    control = {row.name.backbone: row.name.control for row in material.table.rows}
    controls = set(control.values())
    known: dict[tuple[bool, str | None], str | None] = {}
    found = {}
    for name in backbones:  # rows of one control share their reference
        key = (True, name) if name in controls else (False, control.get(name))
        if key not in known:
            known[key] = material.reference_row(task, name)
        found[name] = known[key]
    return found
