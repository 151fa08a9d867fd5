"""Pseudo-labels: what they gain over the labelled images alone, and what was admitted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from classification.pseudo_findings import (
    AdmittedImages,
    PseudoFindings,
    RoundFindings,
    ShownImage,
    labelled_only_in,
    pseudo_findings_in,
    pseudo_picture,
)
from engine.evidence import Evidence
from eval.image_bootstrap import ByImage
from eval.records import Record
from eval.sections.as_another import as_another
from eval.sections.by_backbone import mean
from eval.sections.classifiers import short
from eval.sections.differences import (
    BEYOND_CHANCE,
    Difference,
    difference_cell,
    how_measured,
    judged,
    told,
)
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Gallery, Grid, Picture, Section, number

_ALL, _ALONE = "tuned_top1", "labelled_only_top1"
_MOST_CLASSES = 50
_LONGEST_NAME = 60
_HINDSIGHT = (
    "right: the share whose pseudo-label is the true class, of those whose class is known because "
    "their label was set aside. It is hindsight: nothing was learnt or chosen by it."
)


def section(material: Material) -> Section | None:
    """None where nothing was trained with pseudo-labels."""
    rows: dict[str, list[Record]] = defaultdict(list)
    for record in material.of_task("finetune"):
        if _value(record, _ALONE) is not None and _value(record, _ALL) is not None:
            rows[record.backbone].append(record)
    if not rows:
        return None
    gains = _gains(material, rows)
    blocks: list[Block] = [_gain_grid(rows, gains)]
    left_out = []
    shown = False
    for backbone, records in rows.items():
        evidence = material.evidence(records[0])
        if evidence is None:
            left_out.append(f"{backbone}: its evidence is not there, or cannot be read")
            continue
        try:
            found = pseudo_findings_in(evidence)
        except ValueError as error:
            left_out.append(f"{backbone}: {error}")
            continue
        if found is None or not found.rounds:
            continue
        which = f"{short(backbone, _LONGEST_NAME)}, seed {records[0].seed}"
        blocks.append(_rounds_grid(which, found))
        if not shown:  # of one row in full; of the others the rounds
            blocks += [*_class_grid(which, found), *_gallery(which, found, evidence)]
            shown = True
    return Section(
        key="pseudo-labels",
        title="Pseudo-labels",
        lead=f"Against the training on the labelled images alone ({_ALL}): "
        f"{told(gains, 'row', 'rows')}.",
        blocks=tuple(blocks),
        left_out=tuple(left_out),
    )


def _gains(material: Material, rows: Mapping[str, Sequence[Record]]) -> dict[str, Difference]:
    """By backbone: two trainings of one seed, so paired by seed, and of one seed by image."""
    by_seed, by_image = {}, {}
    for backbone, records in rows.items():
        by_seed[backbone] = [_gain(record) for record in records]
        if len(records) == 1 and (found := _by_image(material, records[0])):
            by_image[backbone] = found
    return judged(by_seed, by_image)


def _by_image(material: Material, record: Record) -> ByImage | None:
    found = as_another(material, record, _ALL, _ALONE, labelled_only_in)
    return found.bootstrap.difference(_ALL, {record.seed: record}, {record.seed: found.other})


def _gain_grid(rows: Mapping[str, Sequence[Record]], gains: Mapping[str, Difference]) -> Grid:
    return Grid(
        caption="Top-1 in percent of the labelled images alone, and with pseudo-labels",
        header=("backbone", "labelled only", "with pseudo-labels", "gain"),
        rows=tuple(
            (
                Cell(text=backbone),
                number(mean(_value(record, _ALONE) for record in records)),
                number(mean(_value(record, _ALL) for record in records)),
                difference_cell(gains.get(backbone)),
            )
            for backbone, records in rows.items()
        ),
        notes=(
            f"{how_measured(gains.values())}. {BEYOND_CHANCE} these rows.",
            "labelled only: the same recipe without pseudo-labels, with the same seed, in the same "
            "run: it begins from the same weights, and sees each labelled image as often, unless "
            "early stopping or the best weights end one of the two sooner.",
        ),
    )


def _rounds_grid(which: str, found: PseudoFindings) -> Grid:
    folds = len({each.fold for each in found.rounds}) > 1
    known = any(each.admitted.known for each in found.rounds)
    return Grid(
        caption=f"Admitted in each round: {which}",
        header=("round", "unlabelled", "admitted", "%", "mean confidence %", *["right %"] * known),
        rows=tuple(_round_row(each, folds, known) for each in found.rounds),
        notes=(
            f"Admitted: {found.admits}; {found.labels} labels, {100 * found.share:.3g}% of each "
            "batch. A round's images are those that the round before it is sure of.",
            *[_HINDSIGHT] * known,
        ),
    )


def _round_row(each: RoundFindings, folds: bool, known: bool) -> tuple[Cell, ...]:
    name = f"fold {each.fold}, round {each.round}" if folds else f"round {each.round}"
    taken = each.admitted
    return (
        Cell(text=name),
        Cell(text=f"{each.n:,}", sort=each.n),
        Cell(text=f"{taken.count:,}", sort=taken.count),
        number(100 * taken.count / each.n if each.n else None),
        number(_percent(taken.confidence)),
        *[_right(taken)] * known,
    )


def _class_grid(which: str, found: PseudoFindings) -> Iterator[Grid]:
    last = _last(found)
    if last is None:
        return
    known = any(each.known for each in last.by_class.values())
    ranked = sorted(last.by_class.items(), key=lambda item: -item[1].count)
    more = len(ranked) - _MOST_CLASSES
    yield Grid(
        caption=f"Admitted in round {last.round} by class: {which}",
        header=("class", "admitted", "mean confidence %", *["right %"] * known),
        rows=tuple(
            (
                Cell(text=short(name)),
                Cell(text=f"{each.count:,}", sort=each.count),
                number(_percent(each.confidence)),
                *[_right(each)] * known,
            )
            for name, each in ranked[:_MOST_CLASSES]
        ),
        notes=(f"{more} more classes are not shown.",) if more > 0 else (),
    )


def _gallery(which: str, found: PseudoFindings, evidence: Evidence) -> Iterator[Gallery]:
    pictures = [
        Picture(data=data, alt=f"Image {short(image.name, _LONGEST_NAME)}", caption=_said(image))
        for place, image in enumerate(found.shown)
        if (data := pseudo_picture(evidence, place)) is not None
    ]
    if pictures:
        caption = f"Of each class the surest and the least sure image that was admitted: {which}"
        yield Gallery(caption=caption, pictures=tuple(pictures))


def _said(image: ShownImage) -> str:
    which = "surest" if image.which == "most" else "least sure"
    said = f"{short(image.label)}, {100 * image.confidence:.1f}%, the {which}"
    if image.truth is None:
        return said
    return f"{said}; {'right' if image.truth == image.label else f'truly {short(image.truth)}'}"


def _last(found: PseudoFindings) -> RoundFindings | None:
    """Of the first fold, the last round that admitted some."""
    taken = [each for each in found.rounds if each.admitted.count]
    first = [each for each in taken if each.fold == taken[0].fold]
    return first[-1] if first else None


def _right(of: AdmittedImages) -> Cell:
    return number(100 * of.right / of.known if of.known else None)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _value(record: Record, metric: str) -> float | None:
    found = record.metrics.get(metric)
    return None if found is None else found.value


def _gain(record: Record) -> float:
    before, after = _value(record, _ALONE), _value(record, _ALL)
    assert before is not None, "only records with both are asked"
    assert after is not None, "only records with both are asked"
    return after - before
