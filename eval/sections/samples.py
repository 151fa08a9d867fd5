"""The same few test images as two backbones see them, the ground truth beside them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from detection.evidence import stacked
from detection.scored_image import Stacked
from detection.voc_average_precision import overlaps
from engine.evidence import Evidence
from eval.records import Record, TaskName
from eval.sections.by_backbone import best_first
from eval.sections.material import Material
from eval.sections.sample_drawing import draw_boxes, draw_legend, draw_mask, read_picture
from eval.sections.section import Gallery, Picture, Section
from eval.text import in_one_line

_METRICS: dict[TaskName, str] = {"detection": "mAP", "segmentation": "mIoU"}
_MOST = 6
_MOST_BOXES = 25
_MOST_IN_LEGEND = 40
_TRUTH = "ground truth"


def section(material: Material) -> Section | None:
    """None where nothing was detected or segmented."""
    tasks = [task for task in _METRICS if material.of_task(task)]
    if not tasks:
        return None
    blocks: list[Gallery] = []
    told, left_out = [], []
    for task, seen in _chosen(material, tasks).items():
        try:
            made, said = _galleries(seen, task)
        except ValueError as error:
            left_out.append(f"{task}: {error}")
            continue
        blocks += made
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


def _galleries(seen: _Seen, task: TaskName) -> tuple[list[Gallery], str]:
    """The pictures of a task, and what they show in a sentence. Raises ValueError where there are
    none."""
    draw = _draw_detection if task == "detection" else _draw_segmentation
    if not seen:
        raise ValueError("no evidence with sample images was kept, or none that can be read")
    first = seen[0][1]
    places = _shared_places([evidence for _, evidence in seen])
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
    who = " and ".join(f"{in_one_line(record.backbone)} (seed {record.seed})" for record, _ in seen)
    caption = (
        f"{task.capitalize()}: the ground truth, {who}. Each row is one test image, chosen by the "
        f"checksum of its name. {chosen}"
    )
    galleries = [Gallery(caption=caption, pictures=tuple(pictures), columns=1 + len(seen))]
    if task == "segmentation":
        galleries += _legend([evidence for _, evidence in seen], places)
    return galleries, f"On {len(places)} test images of {task}, {', '.join(shares)}."


def _legend(seen: Sequence[Evidence], places: Sequence[int]) -> list[Gallery]:
    """The colors of the classes in the pictures, those of the most pixels first."""
    classes = seen[0].classes
    counts = np.zeros(256, np.int64)
    for evidence in seen:
        for kind in ("truth", "prediction"):
            for place in places:
                counts += np.bincount(
                    evidence.arrays[f"sample_{kind}/{place}"].ravel(), minlength=256
                )
    order = np.argsort(-counts[: len(classes)], kind="stable").tolist()
    labels = [label for label in order if counts[label]][:_MOST_IN_LEGEND]
    if not labels:
        return []
    columns = 1 + len(seen)
    lines = -(-len(labels) // columns)
    parts = [labels[start : start + lines] for start in range(0, len(labels), lines)]
    pictures = tuple(
        Picture(
            data=draw_legend(part, classes),
            alt=f"Colors of {', '.join(in_one_line(classes[label]) for label in part)}.",
        )
        for part in parts
    )
    caption = "The classes in the pictures above, those of the most pixels first"
    return [Gallery(caption=caption, pictures=pictures, columns=columns)]


def _share(task: TaskName, right: int, total: int) -> str:
    if task == "detection":
        return f"finds {right} of {total} objects"
    return f"labels {100 * right / max(1, total):.0f}% of the pixels rightly"


def _chosen(material: Material, tasks: Sequence[TaskName]) -> dict[TaskName, _Seen]:
    """The same two backbones for all tasks; for each task its own where no two have all."""
    keep: dict[str, Evidence | None] = {}

    def look(record: Record) -> Evidence | None:
        if record.key not in keep:
            evidence = material.evidence(record)
            usable = evidence is not None and bool(_sample_places(evidence))
            keep[record.key] = evidence if usable else None
        return keep[record.key]

    together = _two(material, tasks, look)
    if len(tasks) == 1 or all(len(seen) == 2 for seen in together.values()):
        return together
    apart = {task: _two(material, [task], look)[task] for task in tasks}
    more = any(len(apart[task]) > len(together[task]) for task in tasks)
    return apart if more else together


def _two(
    material: Material, tasks: Sequence[TaskName], look: Callable[[Record], Evidence | None]
) -> dict[TaskName, _Seen]:
    """The best row and the baseline that the user chose, or the plainest that it can be compared
    with, pretrained ones if there are two; of the first seed that can be shown of all the tasks,
    and of the same images."""
    rows = {row.name.backbone: row.name for row in material.table.rows}
    records: dict[str, dict[int, dict[TaskName, Record]]] = {}
    for task in tasks:
        for record in material.of_task(task):
            by_seed = records.setdefault(record.backbone, {}).setdefault(record.seed, {})
            by_seed[task] = record
    ranks = [best_first(material, task, _METRICS[task]) for task in tasks]
    last = len(rows)
    rank = {
        name: sum(order.index(name) if name in order else last for order in ranks)
        for name in records
    }

    def seen_of(name: str, seed: int, like: dict[TaskName, _Seen] | None) -> dict[TaskName, _Seen]:
        """Nothing where one of the tasks cannot be shown."""
        found: dict[TaskName, _Seen] = {}
        of_seed = records[name].get(seed, {})
        for task in tasks:
            evidence = look(of_seed[task]) if task in of_seed else None
            if evidence is None:
                return {}
            if like is not None:
                first = like[task][0][1]
                if (evidence.images, evidence.classes) != (first.images, first.classes):
                    return {}
                if not _shared_places([first, evidence]):
                    return {}
            found[task] = [(of_seed[task], evidence)]
        return found

    def control(name: str) -> str | None:
        return rows[name].control if name in rows else None

    chosen = material.table.baseline if material.table.baseline_chosen else None
    ranked = sorted(records, key=lambda name: (control(name) is None, rank[name]))
    for best in ranked:
        for seed in sorted(records[best]):
            if not (first := seen_of(best, seed, None)):
                continue
            family = [n for n in ranked if n != best and control(n) == control(best) is not None]
            plainest = sorted(family, key=lambda name: len(rows[name].tricks))
            trained = [name for name in ranked if control(name) is not None]
            others = [chosen, *plainest, *trained, control(best), *ranked]
            for name in dict.fromkeys(others):
                if name is None or name == best or name not in records:
                    continue
                for other in sorted(records[name], key=lambda each: each != seed):
                    if second := seen_of(name, other, first):
                        return {task: first[task] + second[task] for task in tasks}
            return first
    return {task: [] for task in tasks}


def _sample_places(evidence: Evidence) -> list[int]:
    """Those of the images that have a picture."""
    every = range(len(evidence.images))
    return [place for place in every if f"sample/{place}" in evidence.pictures]


def _shared_places(seen: Sequence[Evidence]) -> list[int]:
    """Those that all have, of the same images: the first few."""
    shared = set.intersection(*(set(_sample_places(evidence)) for evidence in seen))
    return sorted(shared)[:_MOST]


_Seen = list[tuple[Record, Evidence]]
"""Of at most two backbones, the better first."""

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
