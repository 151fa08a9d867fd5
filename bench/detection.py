"""Fine-tuning a detector on mini: a step of ours against MMDetection's own pipeline and Runner.

python bench/detection.py [--rounds 15] [--steps 4] [--threads 1] [--json FILE]

mmdet: Faster R-CNN with FPN on a quarter-width resnet50d, 128x128, batches of 4, float32, as mini
trains it: MMDetection's VOCDataset, LoadImageFromFile, LoadAnnotations, Resize, RandomFlip,
PackDetInputs, and mmengine's Runner, IterBasedTrainLoop, default hooks and SGD. mmcv-lite has no
compiled operators, so the peer's run on torchvision's kernels, RoIAlign too. Both see the same
images in the same order. Before times are taken the losses of the first steps are compared, with
the same flips and proposals; a difference above TOLERANCE, relative, is an error. Testing
(inference and scoring: ours all three precisions, MMDetection's VOCMetric one) of 48 images is
timed apart.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.fine_tuning import Peer, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from backbones.card import Card
    from benchmarks.schema import DetectionBudget

TOLERANCE = 5e-3


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    compare(
        argv,
        name="detection",
        peer_name="mmdet",
        description=__doc__,
        tolerance=TOLERANCE,
        parts=parts,
    )


def parts(artifact: Path, card: Card, budget: DetectionBudget) -> tuple[Callable[..., Any], Peer]:
    """Our training and MMDetection's."""
    from engine.finetuning import prepare_openmmlab

    prepare_openmmlab()
    from detection.model import detector_config, parameter_schedule
    from detection.training import detection_training

    interpolation = card.preprocessing.interpolation
    resize = dict(
        type="mmdet.Resize",
        scale=tuple(budget.image_size),
        keep_ratio=budget.keep_ratio,
        interpolation=interpolation,
    )
    load = dict(type="mmcv.LoadImageFromFile")
    boxes = dict(type="mmdet.LoadAnnotations", with_bbox=True)
    meta = ("img_id", "img_path", "ori_shape", "img_shape", "scale_factor")
    flip, pack = dict(type="mmdet.RandomFlip", prob=0.5), dict(type="mmdet.PackDetInputs")

    def dataset(split: str, pipeline: list[Any], *, training: bool) -> dict[str, Any]:
        year, _, name = split.partition("/")
        filters = dict(filter_empty_gt=True, bbox_min_size=budget.bbox_min_size)
        return dict(
            type="mmdet.VOCDataset",
            data_root=f"{budget.root}/",
            ann_file=f"{year}/ImageSets/Main/{name}.txt",
            data_prefix=dict(sub_data_root=f"{year}/"),
            metainfo=dict(classes=tuple(budget.classes), palette=None),
            test_mode=not training,
            filter_cfg=filters if training else None,
            pipeline=pipeline,
        )

    (train,) = budget.train
    peer = Peer(
        scope="mmdet",
        model=detector_config(artifact, card, budget),
        train_dataset=dataset(train, [load, boxes, resize, flip, pack], training=True),
        test_dataset=dataset(
            budget.test, [load, resize, boxes, {**pack, "meta_keys": meta}], training=False
        ),
        evaluator=dict(type="mmdet.VOCMetric", metric="mAP", eval_mode="11points"),
        schedule=parameter_schedule(budget),
    )
    return detection_training, peer


if __name__ == "__main__":
    main()
