"""Near duplicates among one's own images, within and across the splits, and unusable files."""

from __future__ import annotations

from classification.own_images import DuplicatePair, ImageFindings, findings_in, pair_pictures
from engine.evidence import Evidence
from eval.records import Record
from eval.sections.classifiers import count_of, short
from eval.sections.material import Material
from eval.sections.section import Block, Cell, Gallery, Grid, Paragraph, Picture, Section

_KEY, _TITLE = "own-files", "Your images: near duplicates and unusable files"
_MOST_ROWS = 100
_LONGEST_NAME = 60


def section(material: Material) -> Section | None:
    """Of the first record that has findings: the images are the same for all. None for none."""
    problems = []
    for record in material.of_task("finetune"):
        evidence = material.evidence(record)
        if evidence is None:
            continue
        try:
            found = findings_in(evidence)
        except ValueError as error:
            problems.append(f"{record.backbone} (seed {record.seed}): {error}")
            continue
        if found is not None:
            return _made(record, evidence, found)
    if not problems:
        return None
    lead = "What was found in the files cannot be shown."
    return Section(key=_KEY, title=_TITLE, lead=lead, left_out=tuple(problems))


def _made(record: Record, evidence: Evidence, found: ImageFindings) -> Section:
    blocks: list[Block] = []
    if found.pairs:
        blocks.append(
            Paragraph(
                text="Pairs whose perceptual hashes (pHash, 64 bits of the lowest frequencies) "
                "differ in at most 6 bits: copies that were scaled, recompressed or made brighter. "
                "A mirrored or closely cropped copy is not found, and two pictures of one thing "
                "on an empty ground can look like a pair."
            )
        )
        blocks += _gallery(evidence, found)
        blocks.append(_pairs(found))
    if found.unusable:
        more = found.n_unusable - len(found.unusable)
        blocks.append(
            Grid(
                caption="Files that were not used",
                header=("file", "why"),
                rows=tuple(
                    (Cell(text=short(bad.name, _LONGEST_NAME)), Cell(text=short(bad.reason, 300)))
                    for bad in found.unusable
                ),
                notes=(f"{more} more are not shown.",) if more > 0 else (),
            )
        )
    return Section(key=_KEY, title=_TITLE, lead=_lead(record, found), blocks=tuple(blocks))


def _lead(record: Record, found: ImageFindings) -> str:
    count = found.n_tested + found.n_others
    said = [f"Among {count_of(count, 'image')} of the {record.benchmark} benchmark"]
    if not found.n_pairs:
        said.append("no two are near duplicates.")
    else:
        what = f"{count_of(found.n_pairs, 'pair')} of near duplicates {_were(found.n_pairs)} found."
        said.append(what)
    if found.n_leaks:
        said.append(
            f"{found.n_leaks} of them {'is' if found.n_leaks == 1 else 'are'} of a tested image "
            "and one that was trained on: the score may be higher than on images that are new."
        )
    elif found.n_others and not _in_folds(found):
        said.append("None is of a tested image and one that was trained on.")
    if found.n_pairs and _in_folds(found):
        said.append(
            "Where two tested ones were not held out together, one was trained on when the other "
            "was tested: the same group in a CSV file keeps them together."
        )
    if differ := sum(pair.first.label != pair.second.label for pair in found.pairs):
        said.append(f"{count_of(differ, 'pair')} {_were(differ)} given two different labels.")
    if found.n_unusable:
        said.append(f"{count_of(found.n_unusable, 'file')} could not be used.")
    return " ".join(said)


def _in_folds(found: ImageFindings) -> bool:
    """Whether a tested image was trained on in another fold."""
    return found.tested == "out-of-fold"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"


def _gallery(evidence: Evidence, found: ImageFindings) -> list[Gallery]:
    pictures: list[Picture] = []
    for number, pair in enumerate(found.pairs):
        if (kept := pair_pictures(evidence, number)) is None:
            break
        for data, image in zip(kept, (pair.first, pair.second), strict=True):
            where = "tested" if image.tested else "trained on"
            name, label = short(image.name, _LONGEST_NAME), short(image.label)
            pictures.append(
                Picture(
                    data=data,
                    alt=f"Image {name}, {where}, of the class {label}: pair {number + 1}",
                    caption=f"Pair {number + 1}, {where}: {label}",
                )
            )
    if not pictures:
        return []
    return [Gallery(caption="Near duplicates, side by side", pictures=tuple(pictures))]


def _pairs(found: ImageFindings) -> Grid:
    shown = found.pairs[:_MOST_ROWS]
    more = found.n_pairs - len(shown)
    return Grid(
        caption="Near duplicates, those across the splits first",
        header=("image", "and", "split", "classes", "bits"),
        rows=tuple(
            (
                Cell(text=short(pair.first.name, _LONGEST_NAME)),
                Cell(text=short(pair.second.name, _LONGEST_NAME)),
                Cell(text=_split(pair, in_folds=_in_folds(found))),
                Cell(text=_classes(pair)),
                Cell(
                    text="same file" if pair.distance < 0 else str(pair.distance),
                    sort=pair.distance,
                ),
            )
            for pair in shown
        ),
        notes=(
            "bits: that the two hashes differ in; same file: byte by byte.",
            *((f"{more} more are not shown.",) if more > 0 else ()),
        ),
    )


def _split(pair: DuplicatePair, *, in_folds: bool) -> str:
    if pair.leaks:
        return "across: tested and trained on"
    if pair.first.tested and in_folds:
        return "tested in one fold or in two"
    return "both tested" if pair.first.tested else "both trained on"


def _classes(pair: DuplicatePair) -> str:
    first, second = short(pair.first.label), short(pair.second.label)
    return first if first == second else f"differ: {first}, {second}"
