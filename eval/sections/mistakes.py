"""Which images the best classifier gets wrong, and what the one that it is compared with said."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from classification.evidence import (
    confident_mistakes,
    hardest_images,
    picture_of,
    unsure_images,
)
from eval.records import Record, TaskName
from eval.sections.classifiers import (
    Seen,
    Unseen,
    by_backbone,
    count_of,
    other_tuning,
    see,
    short,
    top1_of,
)
from eval.sections.material import Material
from eval.sections.section import Cell, Gallery, Grid, Paragraph, Picture, Section

_LONGEST_CLASS = 24
_LISTS = (
    "The lists ask different questions, and one image may stand in several. Confident mistakes: "
    "which wrong answers had the highest probability? Least probability of the label: where was "
    "the label's own probability lowest, whatever the answer? Least sure: where was the "
    "probability of the answer lowest, be it right or wrong? Labels that are likely wrong are a "
    "list of their own, further below, where there are any."
)


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two classifiers of one seed and, for each image of the first, its place in the second; -1
    where it is not there. other: None where there is nothing to compare with; why: it is this."""

    best: Seen
    other: Seen | None
    places: np.ndarray
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """One task's section. images: what was tested, as a sentence calls it."""

    task: TaskName
    key: str
    title: str
    images: str


_PRETRAINED = _Kind(
    task="classification", key="mistakes", title="Mistakes", images="Validation image"
)
_OWN = _Kind(
    task="finetune", key="own-mistakes", title="Your images: mistakes", images="Tested image"
)


def section(material: Material) -> Section | None:
    """The most confident mistakes and the hardest images, with both classifiers' answers."""
    return _section(material, _PRETRAINED)


def own_section(material: Material) -> Section | None:
    """The same of fine-tuned classifiers, and the images that the best one is least sure of."""
    return _section(material, _OWN)


def _section(material: Material, kind: _Kind) -> Section | None:
    rows = by_backbone(material.of_task(kind.task))
    if not rows:
        return None
    unseen = Unseen()
    pair = _pair(material, rows, unseen, kind)
    if pair is None:
        return Section(
            key=kind.key,
            title=kind.title,
            lead="No answers were kept from which mistakes could be shown.",
            left_out=unseen.in_words(),
        )
    left_out = [*unseen.in_words(), *_not_compared(pair, rows)]
    galleries = [gallery for gallery in _galleries(pair, kind) if gallery.pictures]
    if not galleries:
        left_out.append("no pictures were kept with the answers")
    explained = [Paragraph(text=_LISTS)] * (kind is _OWN and len(galleries) > 1)
    return Section(
        key=kind.key,
        title=kind.title,
        lead=_lead(pair),
        blocks=(*_agreement(pair), *explained, *galleries),
        left_out=tuple(left_out),
    )


def _pair(
    material: Material, rows: dict[str, list[Record]], unseen: Unseen, kind: _Kind
) -> _Pair | None:
    """The best row by mean top-1 and its reference (of that itself: the next best one), of the
    first seed of which both can be seen; else the best row that can be seen alone."""
    top1 = top1_of(rows)
    ranked = sorted(rows, key=lambda name: -top1.get(name, -1.0))
    known: dict[str, Seen | None] = {}

    def look(record: Record) -> Seen | None:
        if record.key not in known:
            known[record.key] = see(material, record, unseen)
        return known[record.key]

    for best in ranked:
        reference = material.reference_row(kind.task, best)
        beside = None
        if kind is _OWN and not material.table.baseline_chosen:
            beside = other_tuning(best, ranked)
        if beside:
            others, why = [beside], "another fine-tuning of the same backbone"
        elif reference is None or reference == best:
            others = [name for name in ranked if name != best][:1]
            why = "the next best" + ", since others are compared with it" * (reference == best)
        else:
            others, why = [reference], "the row that its classes are compared with, too"
        seeds = {record.seed: record for name in others for record in rows[name]}
        alone = None
        for record in rows[best]:
            if (seen := look(record)) is None:
                continue
            alone = alone or seen
            if record.seed in seeds and (other := look(seeds[record.seed])) is not None:
                return _Pair(best=seen, other=other, places=_places(seen, other), why=why)
        if alone is not None:
            nowhere = np.full(len(alone.evidence.images), -1)
            return _Pair(best=alone, other=None, places=nowhere)
    return None


def _places(best: Seen, other: Seen) -> np.ndarray:
    known = {name: place for place, name in enumerate(other.evidence.images)}
    return np.array([known.get(name, -1) for name in best.evidence.images])


def _lead(pair: _Pair) -> str:
    best = pair.best
    wrong = int((~best.answers.right).sum())
    name = best.record.backbone
    said = (
        f"{name} (seed {best.record.seed}) is wrong on {wrong} of "
        f"{count_of(len(best.answers.label), 'image')}"
    )
    surest = confident_mistakes(best.answers)
    if len(surest):
        at = surest[0]
        said += (
            f", most surely where it takes {_class(best, best.answers.label[at])} for "
            f"{_class(best, best.answers.prediction[at])} "
            f"({100 * best.answers.confidence[at]:.0f}% sure)"
        )
    if pair.other is None:
        return f"{said}."
    both, mine, theirs, neither = _counts(pair)
    if not both + mine + theirs + neither:
        return f"{said}."
    return (
        f"{said}. Of what {pair.other.record.backbone} gets wrong it gets {mine} right, and the "
        f"other way round {theirs}; {neither} are wrong in both."
    )


def _counts(pair: _Pair) -> tuple[int, int, int, int]:
    """Images that both have: both right, only the best, only the other, neither."""
    assert pair.other is not None
    shared = pair.places >= 0
    best = pair.best.answers.right[shared]
    other = pair.other.answers.right[pair.places[shared]]
    found = ((best & other), (best & ~other), (~best & other), (~best & ~other))
    return tuple(int(each.sum()) for each in found)  # type: ignore[return-value]


def _agreement(pair: _Pair) -> list[Grid | Paragraph]:
    if pair.other is None or not (pair.places >= 0).any():
        return []
    both, mine, theirs, neither = _counts(pair)
    best, other = pair.best.record.backbone, pair.other.record.backbone
    cells = [[both, mine], [theirs, neither]]
    return [
        Paragraph(
            text=f"{best}, which has the highest top-1, is compared with {other}, "
            f"{pair.why}, both of seed {pair.best.record.seed}."
        ),
        Grid(
            caption="Images that the two get right and wrong",
            header=("", f"{other} right", f"{other} wrong"),
            rows=tuple(
                (Cell(text=f"{best} {which}"), *(Cell(text=str(n), sort=n) for n in counts))
                for which, counts in zip(("right", "wrong"), cells, strict=True)
            ),
        ),
    ]


def _not_compared(pair: _Pair, rows: dict[str, list[Record]]) -> Iterable[str]:
    if len(rows) == 1:
        yield "one row only: there is no other classifier to compare its answers with"
    elif pair.other is None:
        yield "no other classifier's answers are there for the same seed to compare with"
    elif missing := int((pair.places < 0).sum()):
        yield (
            f"not shown to {pair.other.record.backbone}: {count_of(missing, 'image')} of "
            f"{pair.best.record.backbone}"
        )


def _galleries(pair: _Pair, kind: _Kind) -> Iterable[Gallery]:
    best, other = pair.best, pair.other
    name = best.record.backbone
    yield Gallery(
        caption=f"The most confident mistakes of {name}",
        pictures=_pictures(best, other, confident_mistakes(best.answers), pair.places, kind),
    )
    yield Gallery(
        caption=f"The images whose label got the least probability from {name}",
        pictures=_pictures(best, other, hardest_images(best.answers), pair.places, kind),
    )
    if kind is _OWN:
        yield Gallery(
            caption=f"The images that {name} is least sure of",
            pictures=_pictures(best, other, unsure_images(best.answers), pair.places, kind),
        )
    if other is not None:
        back = np.full(len(other.evidence.images), -1)
        shared = np.nonzero(pair.places >= 0)[0]
        back[pair.places[shared]] = shared
        yield Gallery(
            caption=f"The most confident mistakes of {other.record.backbone}",
            pictures=_pictures(other, best, confident_mistakes(other.answers), back, kind),
        )


def _pictures(
    seen: Seen,
    other: Seen | None,
    at: Sequence[int] | np.ndarray,
    places: np.ndarray,
    kind: _Kind,
) -> tuple[Picture, ...]:
    pictures = []
    for place in map(int, at):
        data = picture_of(seen.evidence, place)
        if data is None:
            continue
        label = _class(seen, seen.answers.label[place])
        file = short(seen.evidence.images[place], 60)
        name = f"{file}: " if kind is _OWN else ""  # which its owner wants to look up
        said = [_answer(seen, place)]
        if other is not None and places[place] >= 0:
            said.append(_answer(other, int(places[place])))
        pictures.append(
            Picture(
                data=data,
                alt=f"{kind.images} {file}, of the class {label}",
                caption=f"{name}{label}. {'; '.join(said)}",
            )
        )
    return tuple(pictures)


def _answer(seen: Seen, place: int) -> str:
    """`resnet50d_mixup: cat 93%, the label 2%`."""
    answers = seen.answers
    predicted = _class(seen, answers.prediction[place])
    said = f"{short(seen.record.backbone)}: {predicted} {100 * answers.confidence[place]:.0f}%"
    if answers.right[place]:
        return f"{said} (right)"
    return f"{said}, the label {100 * answers.label_confidence[place]:.0f}%"


def _class(seen: Seen, label: int) -> str:
    return short(seen.evidence.classes[label], _LONGEST_CLASS)
