"""Images of one's own whose label is likely wrong, by a classifier that did not see them."""

from __future__ import annotations

from collections import Counter

from classification.own_images import ImageFindings, LikelyLabelError, error_picture, findings_in
from eval.sections.classifiers import Seen, Unseen, best_seen, count_of, short
from eval.sections.material import Material
from eval.sections.section import (
    Block,
    Cell,
    Gallery,
    Grid,
    Paragraph,
    Picture,
    Section,
    number,
    texts,
)

_KEY, _TITLE = "own-labels", "Your images: likely label errors"
_MOST_ROWS = 200
_MOST_KINDS = 20
_LONGEST_NAME = 60
_FEWEST_RIGHT = 75.0  # percent: of a worse classifier most of what is listed is its own mistake
_HOW = (
    "Confident learning (Northcutt et al. 2021): an image is listed where another class gets at "
    "least the mean probability that this class gets on images that bear its label, and the label "
    "is not what the classifier says. Where the classifier is bad, many of these labels are right: "
    "look before you change one."
)


def section(material: Material) -> Section | None:
    """None where nothing was fine-tuned, or label errors were not looked for."""
    unseen = Unseen()
    seen = best_seen(material, "finetune", unseen)
    if seen is None:
        return None  # the section on mistakes says why
    try:
        found = findings_in(seen.evidence)
    except ValueError as error:
        lead = "The likely label errors cannot be shown."
        return Section(key=_KEY, title=_TITLE, lead=lead, left_out=(str(error),))
    if found is None or not found.n_judged:
        return None
    weak = _right(seen) < _FEWEST_RIGHT
    blocks = (Paragraph(text=_HOW), *_gallery(seen, found, weak), *_grids(found, weak))
    return Section(key=_KEY, title=_TITLE, lead=_lead(seen, found), blocks=blocks)


def _right(seen: Seen) -> float:
    return 100 * float(seen.answers.right.mean())


def _lead(seen: Seen, found: ImageFindings) -> str:
    right = _right(seen)
    name = f"{seen.record.backbone} (seed {seen.record.seed})"
    judged = f"{count_of(found.n_judged, 'image')} that it had not seen"
    if not found.label_errors:
        return (
            f"By the answers of {name}, which is right on {right:.1f}% of the tested images, none "
            f"of the labels of {judged} is likely wrong."
        )
    is_are = "is" if found.n_label_errors == 1 else "are"
    if right < _FEWEST_RIGHT:
        return (
            f"{name} is right on {right:.1f}% of the tested images only: too weak to judge labels. "
            f"Of {judged} {found.n_label_errors} {is_are} worth a look, most of them likely its "
            "own mistakes."
        )
    count, first = found.n_label_errors, found.label_errors[0]
    return (
        f"By the answers of {name}, which is right on {right:.1f}% of the tested images, "
        f"{count_of(count, 'label')} of {judged} ({100 * count / found.n_judged:.1f}%) "
        f"{is_are} likely wrong, most surely that of "
        f"{short(first.image.name, _LONGEST_NAME)}: {short(first.image.label)}, likely "
        f"{short(first.likely)}."
    )


def _gallery(seen: Seen, found: ImageFindings, weak: bool) -> tuple[Gallery, ...]:
    pictures = []
    for place, error in enumerate(found.label_errors):
        if (data := error_picture(seen.evidence, place)) is None:
            break
        answer = "taken for" if weak else "likely"
        said = f"labelled {short(error.image.label)}, {answer} {short(error.likely)}"
        name = short(error.image.name, _LONGEST_NAME)
        pictures.append(Picture(data=data, alt=f"Image {name}, {said}", caption=f"{name}: {said}"))
    if not pictures:
        return ()
    caption = "Worth a look first" if weak else "The likeliest label errors"
    return (Gallery(caption=caption, pictures=tuple(pictures)),)


def _grids(found: ImageFindings, weak: bool) -> tuple[Block, ...]:
    if not found.label_errors:
        return ()
    likely = "taken for" if weak else "likely"
    shown = found.label_errors[:_MOST_ROWS]
    more = found.n_label_errors - len(shown)
    kinds = Counter((error.image.label, error.likely) for error in found.label_errors)
    return (
        Grid(
            caption="Images worth a look, the surest answers first"
            if weak
            else "Likely label errors, the likeliest first",
            header=("image", "split", "label", likely, "label %", "label − next %"),
            rows=tuple(map(_row, shown)),
            notes=(
                "label %: the probability of the label. label − next %: minus the largest "
                "probability of another class, by which they are ranked.",
                *((f"{more} more are not shown.",) if more > 0 else ()),
            ),
        ),
        Grid(
            caption=f"Which labels are {'taken for' if weak else 'likely'} other ones",
            header=("label", likely, "images"),
            rows=tuple(
                (*texts((short(label), short(likely))), Cell(text=str(count), sort=count))
                for (label, likely), count in kinds.most_common(_MOST_KINDS)
            ),
        ),
    )


def _row(error: LikelyLabelError) -> tuple[Cell, ...]:
    image = error.image
    where = "tested" if image.tested else "training"
    return (
        *texts((short(image.name, _LONGEST_NAME), where, short(image.label), short(error.likely))),
        number(100 * error.probability),
        number(100 * error.margin, signed=True),
    )
