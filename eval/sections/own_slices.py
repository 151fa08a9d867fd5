"""How right a fine-tuned classifier is on small, wide, dark or flat images of one's own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from classification.own_images import sliced_facts
from classification.slices import Slice, quartile_slices, wilson_interval
from eval.sections.classifiers import Seen, Unseen, best_seen, count_of
from eval.sections.material import Material
from eval.sections.section import Cell, Grid, Paragraph, Section, number
from eval.significance import Verdict, holm, verdict_of

_KEY, _TITLE = "own-slices", "Your images: by size and light"
_MOST_NAMED = 4
_UNITS = {
    "width": ("width", "px", 0),
    "height": ("height", "px", 0),
    "aspect_ratio": ("width : height", "", 2),
    "brightness": ("brightness", "%", 0),
    "contrast": ("contrast", "%", 0),
}
"""By fact: what it is called, its unit, and how many digits are shown."""
_EXPLAINED = (
    "Brightness is the mean of the grey values (black 0%, white 100%), contrast their standard "
    "deviation, of the image shrunk to 64 pixels on its shorter side; sizes are those of the "
    "images as shown. Images of one value stay in one part. A difference says where the answers "
    "are worse, not that this is why: dark images may be those of one hard class."
)


@dataclass(frozen=True, kw_only=True)
class _Judged:
    """p_value: corrected over all slices of the table."""

    fact: str
    part: Slice
    p_value: float
    verdict: Verdict

    @property
    def name(self) -> str:
        said, unit, digits = _UNITS[self.fact]
        low, high = (f"{end:.{digits}f}" for end in (self.part.low, self.part.high))
        span = low if low == high else f"{low} to {high}"
        return f"{said} {span}{' ' * (unit == 'px')}{unit}"


def section(material: Material) -> Section | None:
    """None where nothing was fine-tuned, or no facts of the images were kept."""
    seen = best_seen(material, "finetune", Unseen())
    if seen is None:
        return None  # the section on mistakes says why
    try:
        facts = sliced_facts(seen.evidence)
    except ValueError as error:
        lead = "Slices of the tested images cannot be shown."
        return Section(key=_KEY, title=_TITLE, lead=lead, left_out=(str(error),))
    if not facts:
        return None
    right = seen.answers.right
    parts, same = [], []
    for fact, values in facts.items():
        known = np.isfinite(values)
        found = quartile_slices(values[known], right[known])
        parts += [(fact, part) for part in found]
        if not found:
            same.append(_UNITS[fact][0])
    judged = _judged(parts)
    unread = int((~np.isfinite(facts["width"])).sum())
    left_out = []
    if same:
        left_out.append(f"the same in all images: {', '.join(same)}")
    if unread:
        left_out.append(f"not in any slice, since it cannot be read: {count_of(unread, 'image')}")
    return Section(
        key=_KEY,
        title=_TITLE,
        lead=_lead(seen, judged),
        blocks=(_grid(judged), Paragraph(text=_EXPLAINED)) if judged else (),
        left_out=tuple(left_out),
    )


def _judged(parts: list[tuple[str, Slice]]) -> list[_Judged]:
    corrected = holm([part.p_value for _, part in parts])
    made = []
    for (fact, part), p_value in zip(parts, corrected, strict=True):
        verdict = verdict_of(part.difference, p_value)
        assert p_value is not None
        assert verdict is not None
        made.append(_Judged(fact=fact, part=part, p_value=p_value, verdict=verdict))
    return made


def _lead(seen: Seen, judged: list[_Judged]) -> str:
    right = seen.answers.right
    said = (
        f"{seen.record.backbone} (seed {seen.record.seed}) is right on {100 * right.mean():.1f}% "
        f"of {count_of(len(right), 'tested image')}"
    )
    if not judged:
        return f"{said}, which are all alike in size and light."
    worse = sorted((j for j in judged if j.verdict == "worse"), key=lambda j: j.part.difference)
    if not worse:
        return f"{said}; no part of them by size or light is worse than the rest beyond chance."
    named = [
        f"{j.name}: {j.part.accuracy:.1f}%, {number(j.part.difference, signed=True).text} points "
        "against the rest"
        for j in worse[:_MOST_NAMED]
    ]
    more = f"; and {len(worse) - _MOST_NAMED} more" if len(worse) > _MOST_NAMED else ""
    return f"{said}, and worse beyond chance on: {'; '.join(named)}{more}."


def _grid(judged: list[_Judged]) -> Grid:
    rows = []
    for j in judged:
        low, high = wilson_interval(j.part.right, j.part.n)
        rows.append(
            (
                Cell(text=j.name),
                Cell(text=str(j.part.n), sort=j.part.n),
                Cell(text=f"{j.part.accuracy:.1f} [{low:.1f}, {high:.1f}]", sort=j.part.accuracy),
                number(j.part.difference, signed=True),
                Cell(text=f"{j.p_value:.2g}", sort=j.p_value),
                Cell(text=j.verdict),
            )
        )
    return Grid(
        caption="Accuracy by quarters of the tested images",
        header=("images of", "n", "accuracy % [95%]", "− the rest", "p", "verdict"),
        rows=tuple(rows),
        notes=(
            "Interval: Wilson's. − the rest: points against all other tested images. p: Fisher's "
            f"exact test, corrected over the {len(judged)} rows (Holm).",
        ),
    )
