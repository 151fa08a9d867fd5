"""Faster R-CNN with FPN: MMDetection's own base configuration, with what a benchmark changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmdet
from mmengine.config import Config, ConfigDict

from backbones.card import Card
from benchmarks.schema import DetectionBudget
from engine.finetuning import frozen, normalization
from engine.processes import world_size
from engine.scopes import prefix_types

BASE_CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
FPN_STRIDES = (4, 8, 16, 32)


def detector_config(artifact: str | Path, card: Card, budget: DetectionBudget) -> ConfigDict:
    """The `model` part of a MMDetection configuration with a TrickleBackbone.

    Raises ValueError where the backbone's levels are not those that the FPN pools from.
    """
    features = card.features
    if features.strides != FPN_STRIDES:
        raise ValueError(
            f"{card.architecture} has levels at strides {features.strides}; "
            f"Faster R-CNN with FPN needs {FPN_STRIDES}"
        )
    model = Config.fromfile(BASE_CONFIGS / "_base_/models/faster-rcnn_r50_fpn.py").model
    model.backbone = dict(
        type="TrickleBackbone",
        artifact=str(artifact),
        out_indices=(0, 1, 2, 3),
        output_stride=32,
        **frozen(card, frozen_stages=budget.frozen_stages, norm_eval=budget.norm_eval),
    )
    model.data_preprocessor.update(normalization(card))
    channels = budget.fpn_channels
    model.neck.update(in_channels=list(features.channels), out_channels=channels)
    model.rpn_head.update(in_channels=channels, feat_channels=channels)
    model.rpn_head.anchor_generator.scales = [budget.anchor_scale]
    extractor = model.roi_head.bbox_roi_extractor
    # 56 pixels for anchors of scale 8 (Lin et al. 2017, eq. 1): the same share for other scales.
    extractor.update(out_channels=channels, finest_scale=round(7 * budget.anchor_scale))
    model.roi_head.bbox_head.update(
        in_channels=channels,
        fc_out_channels=budget.head_channels,
        num_classes=len(budget.classes),
    )
    # Upstream's shares: the NMS of 1000 proposals looks at 2000 in training and 1000 in testing.
    model.train_cfg.rpn_proposal.update(
        nms_pre=2 * budget.rpn_proposals, max_per_img=budget.rpn_proposals
    )
    model.test_cfg.rpn.update(nms_pre=budget.rpn_proposals, max_per_img=budget.rpn_proposals)
    model.train_cfg.rcnn.sampler.num = budget.rois_per_image
    if world_size() > 1:
        from detection.shared_batch import share_batches

        share_batches(model)
    return prefix_types(model, "mmdet")


def parameter_schedule(budget: DetectionBudget) -> list[dict[str, Any]]:
    """Linear warmup, then a tenth at each milestone, in iterations."""
    schedule: list[dict[str, Any]] = []
    if budget.warmup_iterations:
        schedule.append(
            dict(
                type="LinearLR",
                start_factor=0.001,
                by_epoch=False,
                begin=0,
                end=budget.warmup_iterations,
            )
        )
    milestones = [round(fraction * budget.iterations) for fraction in budget.milestones]
    schedule.append(dict(type="MultiStepLR", by_epoch=False, milestones=milestones, gamma=0.1))
    return schedule
