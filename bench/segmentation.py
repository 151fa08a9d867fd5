"""Fine-tuning a segmentor on mini: a step of ours against MMSegmentation's own pipeline and Runner.

python bench/segmentation.py [--rounds 15] [--steps 4] [--threads 1] [--json FILE]

mmseg: FCN with an auxiliary head on a quarter-width resnet50d of output stride 8, 96x96, batches
of 4, float32, as mini trains it: MMSegmentation's ADE20KDataset, LoadImageFromFile,
LoadAnnotations, RandomResize, RandomCrop, RandomFlip, PhotoMetricDistortion, PackSegInputs, and
mmengine's Runner, IterBasedTrainLoop, default hooks and SGD. Both see the same images in the same
order. Before times are taken the losses of the first steps are compared, with the same crops, flips
and colors; a difference above TOLERANCE, relative, is an error. Testing (inference and
scoring by IoUMetric) of 48 images is timed apart.
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
    from benchmarks.schema import SegmentationBudget

TOLERANCE = 5e-3


def main(argv: list[str] | None = None) -> None:
    """Measures, prints, and writes the JSON that is asked for."""
    compare(
        argv,
        name="segmentation",
        peer_name="mmseg",
        description=__doc__,
        tolerance=TOLERANCE,
        parts=parts,
    )


def parts(
    artifact: Path, card: Card, budget: SegmentationBudget
) -> tuple[Callable[..., Any], Peer]:
    """Our training and MMSegmentation's."""
    from engine.finetuning import prepare_openmmlab

    prepare_openmmlab()
    from segmentation.model import parameter_schedule, segmentor_config
    from segmentation.training import segmentation_training

    scale = dict(
        scale=tuple(budget.image_size),
        keep_ratio=True,
        interpolation=card.preprocessing.interpolation,
    )
    load = dict(type="mmcv.LoadImageFromFile")
    labels = dict(type="mmseg.LoadAnnotations", reduce_zero_label=True)
    pack = dict(type="mmseg.PackSegInputs")
    training = [
        load,
        labels,
        dict(type="mmcv.RandomResize", ratio_range=(0.5, 2.0), resize_type="mmseg.Resize", **scale),
        dict(type="mmseg.RandomCrop", crop_size=tuple(budget.crop_size[::-1]), cat_max_ratio=0.75),
        dict(type="mmcv.RandomFlip", prob=0.5),
        dict(type="mmseg.PhotoMetricDistortion"),
        pack,
    ]
    testing = [load, dict(type="mmcv.Resize", **scale), labels, pack]

    def dataset(split: str, pipeline: list[Any], *, test: bool) -> dict[str, Any]:
        return dict(
            type="mmseg.BaseSegDataset",
            data_root=str(budget.root),
            data_prefix=dict(img_path=f"images/{split}", seg_map_path=f"annotations/{split}"),
            metainfo=dict(classes=tuple(budget.classes)),
            reduce_zero_label=True,
            test_mode=test,
            pipeline=pipeline,
        )

    peer = Peer(
        scope="mmseg",
        model=segmentor_config(artifact, card, budget),
        train_dataset=dataset("training", training, test=False),
        test_dataset=dataset("validation", testing, test=True),
        evaluator=dict(type="mmseg.IoUMetric", iou_metrics=["mIoU"]),
        schedule=parameter_schedule(budget),
    )
    return segmentation_training, peer


if __name__ == "__main__":
    main()
