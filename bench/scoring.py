"""Scores of a test set against the packages that define them.

python bench/scoring.py [--peers pycocotools mmdet_voc mmseg_iou] [--json FILE]

Each peer begins where the network's outputs lie in memory as arrays per image, does the same
counting and gives the same figures, which is checked first:

pycocotools: COCO's twelve figures for 500 images of 80 classes with 36 detections each. The
    building of the lists of dictionaries that COCOeval wants is not timed; that of our columns is.
mmdet_voc: VOC's 11-point and area precision for 4,952 images (VOC2007 test) of 20 classes with 40
    detections each, by eval_map with its own number of processes. The lists by image and class
    that it wants are not timed.
mmseg_iou: mIoU, aAcc and mAcc of 40 masks of 512x683 pixels and 150 classes, by IoUMetric's
    process and totals.

All are synthetic: objects of many sizes, detections of them that are more or less off, duplicates
and false ones, difficult objects, equal scores.
"""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np

from bench.measure import alternate, bench_parser, report, spread

if TYPE_CHECKING:
    from detection.scored_image import ScoredImage

PEERS = ("pycocotools", "mmdet_voc", "mmseg_iou")
Arms = dict[str, Callable[[], Any]]


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    parser = bench_parser(__doc__)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.set_defaults(rounds=5)
    arguments = parser.parse_args(argv)

    from engine.finetuning import prepare_openmmlab

    prepare_openmmlab()
    makers = {"pycocotools": _coco, "mmdet_voc": _voc, "mmseg_iou": _segmentation}
    ratios: dict[str, float] = {}
    raw: dict[str, Any] = {}
    for peer in arguments.peers:
        arms, work = makers[peer]()
        _check(peer, arms)
        seconds = alternate(arms, rounds=arguments.rounds, warmup=1)
        found = spread(seconds, "trickle", peer)
        ratios[peer] = found["ratio"]
        raw[peer] = {"work": work, **found, "seconds": seconds}
    report("scoring", ratios=ratios, raw=raw, file=arguments.json)


def _check(peer: str, arms: Arms) -> None:
    ours, theirs = (np.asarray(arms[name](), float) for name in ("trickle", peer))
    if not np.array_equal(np.isnan(ours), np.isnan(theirs)) or np.nanmax(abs(ours - theirs)) > 1e-9:
        raise ValueError(f"{peer} finds {theirs}, and we {ours}: there is nothing to compare")


def scored_images(
    count: int, classes: int, *, detections: int, objects: float
) -> list[ScoredImage]:
    """A detector's test set; `detections` of each image, `objects` of one in the mean."""
    from detection.scored_image import ScoredImage

    rng, images = np.random.default_rng(0), []
    for _ in range(count):
        number = 1 + rng.poisson(objects - 1)
        corner, sides = rng.uniform(0, 300, (number, 2)), np.exp(rng.uniform(2, 5.3, (number, 2)))
        truth = np.concatenate([corner, corner + sides], axis=1).round()
        labels = rng.integers(0, classes, number)
        aimed = rng.integers(0, number, detections)
        off = rng.choice([0.03, 0.15, 0.6], (detections, 1)) * np.tile(sides[aimed], 2)
        boxes = truth[aimed] + rng.normal(0, 1, (detections, 4)) * off
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        found = np.where(
            rng.random(detections) < 0.6, labels[aimed], rng.integers(0, classes, detections)
        )
        images.append(
            ScoredImage(
                boxes=boxes.astype(np.float32),
                scores=rng.random(detections).round(3).astype(np.float32),
                labels=found,
                truth=truth.astype(np.float32),
                truth_labels=labels,
                difficult=rng.random(number) < 0.1,
                size=(500, 500),
            )
        )
    return images


def _coco() -> tuple[Arms, str]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    from detection.coco_average_precision import coco_statistics

    images = scored_images(500, 80, detections=36, objects=7)
    objects: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for i, image in enumerate(images):
        for (x1, y1, x2, y2), label, crowd in zip(
            image.truth.tolist(),
            image.truth_labels.tolist(),
            image.difficult.astype(int).tolist(),
            strict=True,
        ):
            box = {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}
            place = {"image_id": i, "category_id": label, "iscrowd": crowd}
            objects.append({"id": len(objects) + 1, **place, **box})
        for (x1, y1, x2, y2), label, score in zip(
            image.boxes.tolist(), image.labels.tolist(), image.scores.tolist(), strict=True
        ):
            place = {"image_id": i, "category_id": label, "score": score}
            results.append({**place, "bbox": [x1, y1, x2 - x1, y2 - y1]})

    def peer() -> Any:
        with contextlib.redirect_stdout(io.StringIO()):
            truth = COCO()
            truth.dataset = {
                "images": [{"id": i, "height": 500, "width": 500} for i in range(len(images))],
                "annotations": [dict(item) for item in objects],
                "categories": [{"id": label, "name": str(label)} for label in range(80)],
            }
            truth.createIndex()
            found = truth.loadRes([dict(item) for item in results])
            evaluation = COCOeval(truth, found, "bbox")
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return evaluation.stats[:12]

    arms: Arms = {"trickle": lambda: coco_statistics(images, 80), "pycocotools": peer}
    return arms, f"500 images, 80 classes, {len(results):,} detections, {len(objects):,} objects"


def _voc() -> tuple[Arms, str]:
    from mmdet.evaluation.functional import average_precision, eval_map

    from detection.voc_average_precision import as_mmdet, voc_average_precisions

    images = scored_images(4952, 20, detections=40, objects=3)
    detections, annotations = as_mmdet(images, 20)

    def ours() -> Any:
        found = voc_average_precisions(images, 20)
        return found["area"] + found["voc07_11point"]

    def peer() -> Any:
        _, classes = eval_map(
            detections, annotations, iou_thr=0.5, logger="silent", use_legacy_coordinate=True
        )
        eleven = [average_precision(c["recall"], c["precision"], "11points") for c in classes]
        return [100 * float(value) for value in [c["ap"] for c in classes] + eleven]

    return {"trickle": ours, "mmdet_voc": peer}, "4,952 images, 20 classes, 198,080 detections"


def _segmentation() -> tuple[Arms, str]:
    import torch
    from mmseg.evaluation import IoUMetric

    from segmentation.metric import SegmentationMetric

    rng, samples = np.random.default_rng(0), []
    for _ in range(40):
        label = np.kron(rng.integers(0, 150, (8, 11)), np.ones((64, 63), int))[:, :683]
        predicted = np.where(rng.random(label.shape) < 0.7, label, np.roll(label, 40, axis=1))
        label[rng.random(label.shape) < 0.1] = 255
        samples.append(
            {
                "pred_sem_seg": {"data": torch.from_numpy(predicted)[None]},
                "gt_sem_seg": {"data": torch.from_numpy(label.astype(np.uint8))[None]},
            }
        )

    def run(kind: type[Any]) -> Any:
        metric = kind()
        metric.dataset_meta = {"classes": tuple(map(str, range(150)))}
        for sample in samples:
            metric.process({}, [sample])
        return metric

    def ours() -> Any:
        found = run(SegmentationMetric).evaluate(len(samples))
        return [found["mIoU"], found["aAcc"], found["mAcc"], *found["per_class"]]

    def peer() -> Any:
        metric = run(IoUMetric)
        totals = [sum(part) for part in zip(*metric.results, strict=True)]
        found = metric.total_area_to_metrics(*totals, ["mIoU"])
        means = [np.nanmean(found["IoU"]), found["aAcc"], np.nanmean(found["Acc"])]
        return [100 * float(value) for value in [*means, *found["IoU"]]]

    return {"trickle": ours, "mmseg_iou": peer}, "40 masks of 512x683 pixels, 150 classes"


if __name__ == "__main__":
    main()
