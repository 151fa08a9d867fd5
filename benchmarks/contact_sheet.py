"""A picture of a benchmark's three data sets with boxes, masks and names, to look at before use.

python -m benchmarks.contact_sheet --benchmark mini --out docs/mini_contact_sheet.jpg
"""

from __future__ import annotations

import argparse
import colorsys
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import numpy as np

from backbones.atomic import write_bytes_atomic
from benchmarks.ade20k_layout import list_split
from benchmarks.imagenet_layout import ImageNetIndex, read_index
from benchmarks.labelled_images import LabelledImages, read_labelled
from benchmarks.pixels import read_bgr, read_indices
from benchmarks.prepare import ensure_ready
from benchmarks.schema import Benchmark, DetectionBudget, SegmentationBudget, load_benchmark
from benchmarks.voc_layout import read_annotation, read_image_set
from engine.stage import run_stage

WIDTH = 960
LABEL_WIDTH = 120
MAX_CLASSES = 10
SCENES = 8
COLUMNS = 4
GAP = 4
BLACK, WHITE = (0, 0, 0), (255, 255, 255)

Sheet = np.ndarray[Any, np.dtype[np.uint8]]
"""(H, W, 3) BGR uint8."""
Item = TypeVar("Item")


def draw_sheet(benchmark: Benchmark, max_bytes: int) -> bytes:
    """The sheet of a prepared benchmark as a JPEG of at most `max_bytes`."""
    blocks = []
    if benchmark.pretraining is not None:
        blocks += [
            _heading("pretraining: ImageNet layout"),
            _draw_classes(read_index(benchmark.pretraining.root, "train")),
        ]
    if benchmark.finetune is not None:
        labelled = read_labelled(benchmark.finetune, "train")
        assert labelled is not None, "there are training images"
        blocks += [_heading("fine-tuning: labelled images"), _draw_classes(labelled)]
    if benchmark.detection is not None:
        blocks += [
            _heading("detection: Pascal VOC layout (dashed: difficult)"),
            _draw_detection(benchmark.detection),
        ]
    if benchmark.segmentation is not None:
        blocks += [
            _heading("segmentation: ADE20K layout (dark: other)"),
            _draw_segmentation(benchmark.segmentation),
        ]
    sheet = np.concatenate(blocks)
    for quality in range(92, 20, -4):
        data = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(data) <= max_bytes:
            return data
    raise ValueError(
        f"the sheet does not fit into {max_bytes} bytes; allow more by --max-kilobytes"
    )


def _draw_classes(index: ImageNetIndex | LabelledImages) -> Sheet:
    """A row per class: its name and as many training images as fit."""
    side = 76
    count = (WIDTH - LABEL_WIDTH) // (side + GAP)
    rows = []
    for label, name in list(enumerate(index.classes))[:MAX_CLASSES]:
        paths = [path for path, other in index.samples if other == label]
        row = _blank(side + GAP, WIDTH)
        _write(row, name, GAP, side // 2, BLACK)
        for column, path in enumerate(_spread(paths, count)):
            left = LABEL_WIDTH + column * (side + GAP)
            row[:side, left : left + side] = _square(read_bgr(path), side)
        rows.append(row)
    return np.concatenate(rows)


def _draw_detection(budget: DetectionBudget) -> Sheet:
    split = budget.train[0]
    ids = _spread(read_image_set(budget.root, split), SCENES)
    cells = []
    for image_id in ids:
        annotated = read_annotation(budget.root, split.partition("/")[0], image_id, budget.classes)
        cell, scale = _fit(read_bgr(budget.root / annotated.image))
        for item in annotated.objects:
            # 1-based corners inside the box, drawn on the pixels that they name.
            left, top = round((item.x1 - 1) * scale), round((item.y1 - 1) * scale)
            right, bottom = round(item.x2 * scale) - 1, round(item.y2 * scale) - 1
            color = _color(budget.classes.index(item.name), len(budget.classes))
            _rectangle(cell, (left, top), (right, bottom), color, dashed=item.difficult)
            _tag(cell, item.name, left, top, color)
        cells.append(cell)
    return _grid(cells)


def _draw_segmentation(budget: SegmentationBudget) -> Sheet:
    """Pairs of image and mask; a class's name on its largest region."""
    cells = []
    for pair in _spread(list_split(budget.root, "training"), SCENES):
        image, _ = _fit(read_bgr(budget.root / pair.image))
        assert pair.annotation is not None, "the data is checked"
        indices = read_indices(budget.root / pair.annotation)
        mask = (0.35 * image).astype(np.uint8)
        shown = cv2.resize(indices, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        present = [k for k in np.unique(shown) if 0 < k <= len(budget.classes)]
        for k in present:
            mask[shown == k] = _color(int(k) - 1, len(budget.classes))
        for k in present:
            x, y = _middle_of_largest(shown == k)
            name = budget.classes[int(k) - 1]
            _write(mask, name, max(0, x - 3 * len(name)), y, BLACK)
        cells += [image, mask]
    return _grid(cells)


def _middle_of_largest(region: np.ndarray[Any, np.dtype[np.bool_]]) -> tuple[int, int]:
    """(x, y) of the centroid of the largest connected part of a region that is not empty."""
    _, _, stats, centers = cv2.connectedComponentsWithStats(region.astype(np.uint8))
    x, y = centers[1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())]
    return int(x), int(y)


def _grid(cells: list[Sheet]) -> Sheet:
    rows = []
    for start in range(0, len(cells), COLUMNS):
        some = cells[start : start + COLUMNS]
        row = _blank(max(cell.shape[0] for cell in some) + GAP, WIDTH)
        for column, cell in enumerate(some):
            left = column * WIDTH // COLUMNS
            row[: cell.shape[0], left : left + cell.shape[1]] = cell
        rows.append(row)
    return np.concatenate(rows)


def _fit(image: Sheet) -> tuple[Sheet, float]:
    """The image scaled to a column's width, and the factor."""
    scale = (WIDTH // COLUMNS - GAP) / image.shape[1]
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, size, interpolation=method), scale


def _square(image: Sheet, side: int) -> Sheet:
    """The central square, scaled."""
    edge = min(image.shape[:2])
    top, left = (image.shape[0] - edge) // 2, (image.shape[1] - edge) // 2
    crop = image[top : top + edge, left : left + edge]
    scaled: Sheet = cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA)
    return scaled


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spaced."""
    if len(items) <= count:
        return list(items)
    return [items[i * len(items) // count] for i in range(count)]


def _rectangle(
    cell: Sheet,
    start: tuple[int, int],
    end: tuple[int, int],
    color: tuple[int, int, int],
    *,
    dashed: bool,
) -> None:
    if not dashed:
        cv2.rectangle(cell, start, end, color, 1)
        return
    for x in range(start[0], end[0] + 1, 6):
        for y in (start[1], end[1]):
            cv2.line(cell, (x, y), (min(x + 2, end[0]), y), color, 1)
    for y in range(start[1], end[1] + 1, 6):
        for x in (start[0], end[0]):
            cv2.line(cell, (x, y), (x, min(y + 2, end[1])), color, 1)


def _tag(cell: Sheet, text: str, left: int, top: int, color: tuple[int, int, int]) -> None:
    """A name on a ground of the box's color, kept inside the cell."""
    (width, height), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.32, 1)
    left = max(0, min(left, cell.shape[1] - width - 2))
    top = max(height + 3, top)
    cv2.rectangle(cell, (left, top - height - 3), (left + width + 1, top), color, cv2.FILLED)
    _write(cell, text, left + 1, top - 2, BLACK)


def _write(cell: Sheet, text: str, x: int, y: int, color: tuple[int, int, int]) -> None:
    cv2.putText(cell, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.32, color, 1, cv2.LINE_AA)


def _heading(text: str) -> Sheet:
    bar = _blank(24, WIDTH)
    cv2.putText(bar, text, (GAP, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, BLACK, 1, cv2.LINE_AA)
    return bar


def _blank(height: int, width: int) -> Sheet:
    return np.full((height, width, 3), WHITE, np.uint8)


def _color(index: int, count: int) -> tuple[int, int, int]:
    """BGR, as far as possible from the other classes' hues."""
    red, green, blue = colorsys.hsv_to_rgb(index / count, 0.55, 1.0)
    return int(255 * blue), int(255 * green), int(255 * red)


def main(argv: list[str] | None = None) -> None:
    """Prepare the benchmark and write its sheet. Raises ValueError for a mistake of the user's."""
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m benchmarks.contact_sheet")
    parser.add_argument("--benchmark", default="mini", help="mini, paper or FILE.toml")
    parser.add_argument("--out", type=Path, required=True, help="the JPEG to write")
    parser.add_argument("--max-kilobytes", type=int, default=390)
    arguments = parser.parse_args(argv)
    prepared = ensure_ready(load_benchmark(arguments.benchmark))
    data = draw_sheet(prepared.benchmark, 1000 * arguments.max_kilobytes)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(arguments.out, data)


if __name__ == "__main__":
    sys.exit(run_stage(main))
