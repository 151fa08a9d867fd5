"""The same few test images as two backbones see them, the ground truth beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from detection.evidence import stacked
from detection.scored_image import Stacked
from detection.voc_average_precision import overlaps
from engine.evidence import Evidence
from eval.records import Record, TaskName
from eval.sections.by_backbone import mean
from eval.sections.material import Material
from eval.sections.sample_drawing import draw_boxes, draw_mask, read_picture
from eval.sections.section import Gallery, Paragraph, Picture, Section
from eval.text import in_one_line

_METRICS: dict[TaskName, str] = {"detection": "mAP", "segmentation": "mIoU"}
_MOST = 6
_MOST_BOXES = 25
_TRUTH = "ground truth"


def section(material: Material) -> Section | None:
    """None where nothing was detected or segmented."""
    tasks = [task for task in _METRICS if material.of_task(task)]
    if not tasks:
        return None
    blocks: list[Gallery | Paragraph] = []
    told, left_out = [], []
    for task in tasks:
        try:
            made, said = _gallery(material, task)
        except ValueError as error:
            left_out.append(f"{task}: {error}")
            continue
        blocks.append(made)
        told.append(said)
    if not blocks:
        told = ["No sample images can be shown: they are kept in evidence, which is not there."]
    return Section(
        key="samples",
        title="Sample images",
        lead=" ".join(told),
        blocks=tuple(blocks),
        left_out=tuple(left_out),
    )


def _gallery(material: Material, task: TaskName) -> tuple[Gallery, str]:
    """The pictures of a task, and what they show in a sentence. Raises ValueError where there are
    none."""
    draw = _draw_detection if task == "detection" else _draw_segmentation
    seen = _two(material, task)
    first = seen[0][1]
    places = _sample_places(first)
    pictures: list[Picture] = []
    scores = np.zeros((len(seen), 2), int)
    drawers = [draw(evidence) for _, evidence in seen]
    for place in places:
        name = in_one_line(first.images[place])
        data, alt, _ = drawers[0](place, True)
        pictures.append(Picture(data=data, alt=f"Ground truth of {name}: {alt}", caption=_TRUTH))
        for column, ((record, _), drawer) in enumerate(zip(seen, drawers, strict=True)):
            data, alt, score = drawer(place, False)
            scores[column] += score
            who = in_one_line(record.backbone)
            pictures.append(Picture(data=data, alt=f"{who} on {name}: {alt}", caption=who))
    shares = [
        f"{in_one_line(record.backbone)} {_share(task, right, total)}"
        for (record, _), (right, total) in zip(seen, scores.tolist(), strict=True)
    ]
    chosen = (
        "Drawn are the surest detections, as many as there are objects."
        if task == "detection"
        else "What the ground truth leaves out is ignored."
    )
    seed = seen[0][0].seed
    caption = (
        f"{task.capitalize()}, seed {seed}: each row is one test image, chosen by the checksum of "
        f"its name. {chosen}"
    )
    gallery = Gallery(caption=caption, pictures=tuple(pictures), columns=1 + len(seen))
    return gallery, f"On {len(places)} test images of {task}, {', '.join(shares)}."


def _share(task: TaskName, right: int, total: int) -> str:
    if task == "detection":
        return f"finds {right} of {total} objects"
    return f"labels {100 * right / max(1, total):.0f}% of the pixels rightly"


def _two(material: Material, task: TaskName) -> list[tuple[Record, Evidence]]:
    """The best row and the one it is to be compared with, by rank; of the first seed that they
    share. Raises ValueError where no record has samples."""
    by_row: dict[str, list[Record]] = {}
    for record in material.of_task(task):
        by_row.setdefault(record.backbone, []).append(record)
    ranked = sorted(by_row, key=lambda name: -_mean(by_row[name], _METRICS[task]))
    best = None
    for name in ranked:
        best = next(_with_samples(material, by_row[name]), None)
        if best is not None:
            break
    if best is None:
        raise ValueError("no evidence with sample images was kept, or none that can be read")
    trained = [r.name.backbone for r in material.table.rows if r.name.control is not None]
    control = [best[0].control] if best[0].control is not None else []
    for name in dict.fromkeys([*control, *trained, *ranked]):
        if name == best[0].backbone or name not in by_row:
            continue
        records = sorted(by_row[name], key=lambda record: record.seed != best[0].seed)
        for other in _with_samples(material, records):
            same = other[1].images == best[1].images and other[1].classes == best[1].classes
            if same:
                return [best, other]
            break
    return [best]


def _mean(records: Sequence[Record], metric: str) -> float:
    values = [r.metrics[metric].value for r in records if metric in r.metrics]
    found = mean(values)
    return -np.inf if found is None else found


def _with_samples(
    material: Material, records: Sequence[Record]
) -> Iterator[tuple[Record, Evidence]]:
    for record in records:
        evidence = material.evidence(record)
        if evidence is not None and _sample_places(evidence):
            yield record, evidence


def _sample_places(evidence: Evidence) -> list[int]:
    """Those of the pictures that have an image."""
    found = [name.removeprefix("sample/") for name in evidence.pictures if "sample/" in name]
    places = sorted(int(place) for place in found if place.isascii() and place.isdigit())
    return [place for place in places if place < len(evidence.images)][:_MOST]


_Draw = Callable[[int, bool], tuple[bytes, str, tuple[int, int]]]
"""Of a place, and whether the truth: the JPEG, what it shows, and how much of how much is right."""


def _draw_detection(evidence: Evidence) -> _Draw:
    rows = stacked(evidence)
    sizes = evidence.arrays.get("size")
    if sizes is None or sizes.shape != (len(evidence.images), 2) or np.any(np.less(sizes, 1)):
        raise ValueError("the evidence does not say how large its images are")

    def draw(place: int, of_truth: bool) -> tuple[bytes, str, tuple[int, int]]:
        picture = read_picture(evidence.pictures[f"sample/{place}"])
        height, width = sizes[place].tolist()
        scale = np.array([picture.width / width, picture.height / height] * 2)
        there = rows.truth_image == place
        if of_truth:
            labels, boxes = rows.truth_labels[there], rows.truth[there]
            texts = [
                f"{evidence.classes[label]}{' (difficult)' if difficult else ''}"
                for label, difficult in zip(labels, rows.difficult[there], strict=True)
            ]
            alt = f"{_counted(texts)}." if texts else "no objects."
            return draw_boxes(picture, boxes * scale, labels.tolist(), texts), alt, (0, 0)
        shown = np.flatnonzero(rows.image == place)
        most = min(_MOST_BOXES, int(np.count_nonzero(there)))
        shown = shown[np.argsort(-rows.scores[shown], kind="stable")][:most]
        right, total = _found(rows, shown, there & ~rows.difficult)
        names = [evidence.classes[label] for label in rows.labels[shown]]
        texts = [f"{name} {s:.2f}" for name, s in zip(names, rows.scores[shown], strict=True)]
        labels = rows.labels[shown].tolist()[::-1]  # the surest on top
        data = draw_boxes(picture, rows.boxes[shown][::-1] * scale, labels, texts[::-1])
        alt = f"{_counted(names) or 'nothing'} found; {right} of {total} objects are right."
        return data, alt, (right, total)

    return draw


def _found(rows: Stacked, shown: np.ndarray, objects: np.ndarray) -> tuple[int, int]:
    """How many of the objects a shown detection of their class lies on, and of how many."""
    places = np.flatnonzero(objects)
    if not shown.size or not places.size:
        return 0, len(places)
    first, second = np.repeat(shown, len(places)), np.tile(places, len(shown))
    overlap = overlaps(rows.boxes[first], rows.truth[second])
    near = (overlap >= 0.5) & (rows.labels[first] == rows.truth_labels[second])
    return int(near.reshape(len(shown), -1).any(axis=0).sum()), len(places)


def _counted(names: Sequence[str]) -> str:
    return ", ".join(f"{count} {in_one_line(name)}" for name, count in Counter(names).items())


def _draw_segmentation(evidence: Evidence) -> _Draw:
    def mask(kind: str, place: int) -> np.ndarray:
        found = evidence.arrays.get(f"sample_{kind}/{place}")
        if found is None or found.ndim != 2 or found.dtype != np.uint8 or not found.size:
            raise ValueError(f"the evidence has no mask of its sample {place}")
        return found

    def draw(place: int, of_truth: bool) -> tuple[bytes, str, tuple[int, int]]:
        truth, predicted = mask("truth", place), mask("prediction", place)
        if truth.shape != predicted.shape:
            raise ValueError(f"the masks of sample {place} have different sizes")
        picture = read_picture(evidence.pictures[f"sample/{place}"])
        known = truth < len(evidence.classes)
        shown = np.where(known, truth if of_truth else predicted, np.uint8(255))
        right, total = int((known & (truth == predicted)).sum()), int(known.sum())
        alt = f"{_areas(shown, evidence.classes) or 'no class'}."
        if not of_truth:
            alt = f"{alt[:-1]}; {100 * right / max(1, total):.0f}% of the pixels are right."
        return draw_mask(picture, shown, evidence.classes), alt, (right, total)

    return draw


def _areas(mask: np.ndarray, classes: Sequence[str]) -> str:
    """Shares of the picture by class, the largest first."""
    counts = np.bincount(mask.ravel(), minlength=256)[: len(classes)]
    least = 0.005 * mask.size
    order = [label for label in np.argsort(-counts, kind="stable")[:6] if counts[label] >= least]
    return ", ".join(
        f"{100 * counts[label] / mask.size:.0f}% {in_one_line(classes[label])}" for label in order
    )
