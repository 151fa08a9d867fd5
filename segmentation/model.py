"""FCN on dilated stages: MMSegmentation's own base configuration, with what a benchmark changes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmseg
from mmengine.config import Config, ConfigDict

from backbones.card import Card
from benchmarks.schema import SegmentationBudget
from engine.finetuning import frozen, normalization
from engine.scopes import prefix_types

BASE_CONFIGS = Path(mmseg.__file__).parent / ".mim" / "configs"


def segmentor_config(artifact: str | Path, card: Card, budget: SegmentationBudget) -> ConfigDict:
    """The `model` part of a MMSegmentation configuration with a TrickleBackbone."""
    features = card.features
    model = Config.fromfile(BASE_CONFIGS / "_base_/models/fcn_r50-d8.py").model
    # Upstream's SyncBN: the runner of several processes makes it of all of a model's (BN itself
    # would not do on a CPU), and in one process both compute the same.
    norm = dict(type="BN", requires_grad=True)
    del model.pretrained
    model.backbone = dict(
        type="TrickleBackbone",
        artifact=str(artifact),
        out_indices=(0, 1, 2, 3),
        output_stride=budget.output_stride,
        **frozen(card, frozen_stages=budget.frozen_stages, norm_eval=budget.norm_eval),
    )
    model.data_preprocessor.update(normalization(card), size=tuple(budget.crop_size[::-1]))
    model.decode_head.update(
        in_channels=features.channels[3],
        channels=budget.head_channels,
        num_classes=len(budget.classes),
        norm_cfg=norm,
    )
    if budget.auxiliary:
        model.auxiliary_head.update(
            in_channels=features.channels[2],
            channels=budget.head_channels // 2,
            num_classes=len(budget.classes),
            norm_cfg=norm,
        )
    else:
        del model.auxiliary_head
    return prefix_types(model, "mmseg")


def parameter_schedule(budget: SegmentationBudget) -> list[dict[str, Any]]:
    """Polynomial decay to a hundredth of the learning rate, in iterations."""
    return [
        dict(
            type="PolyLR",
            eta_min=budget.learning_rate / 100,
            power=budget.power,
            begin=0,
            end=budget.iterations,
            by_epoch=False,
        )
    ]
