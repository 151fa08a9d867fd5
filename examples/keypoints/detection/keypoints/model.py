"""A head on C2..C5 that draws a heatmap for each keypoint and takes its mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from mmengine.model import BaseModel, ImgDataPreprocessor
from torch import Tensor, nn

from backbones.card import Card
from backbones.openmmlab import TrickleBackbone
from benchmarks.schema import KeypointBudget
from engine.finetuning import frozen, normalization


class KeypointModel(BaseModel):
    """Trains with the L1 distance of the labelled keypoints, in sides of the crop."""

    def __init__(self, artifact: Path, card: Card, budget: KeypointBudget) -> None:
        super().__init__(data_preprocessor=ImgDataPreprocessor(**normalization(card)))
        self.backbone = TrickleBackbone(
            artifact,
            **frozen(card, frozen_stages=budget.frozen_stages, norm_eval=budget.norm_eval),
        )
        wide = budget.head_channels
        self.laterals = nn.ModuleList(
            nn.Conv2d(channels, wide, 1) for channels in self.backbone.features.channels
        )
        self.heatmaps = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(wide, wide, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(wide, len(budget.keypoints), 1),
        )

    def places(self, inputs: Tensor) -> Tensor:
        """(B, 3, S, S) -> (B, K, 2), x and y in sides of the crop."""
        levels = self.backbone(inputs)
        size = levels[0].shape[2:]
        merged = sum(
            F.interpolate(lateral(level), size, mode="bilinear")
            for lateral, level in zip(self.laterals, levels, strict=True)
        )
        logits = self.heatmaps(merged).float()  # sums over pixels want more than half precision
        weights = logits.flatten(2).softmax(dim=2).view_as(logits)
        height, width = size
        x = (weights.sum(dim=2) * _centers(width, logits)).sum(dim=2)
        y = (weights.sum(dim=3) * _centers(height, logits)).sum(dim=2)
        return torch.stack([x, y], dim=2)

    def forward(
        self, inputs: Tensor, data_samples: Tensor | None = None, mode: str = "tensor"
    ) -> Any:
        """data_samples: (B, K, 3) x, y in sides of the crop, and visibility.

        mode "loss": {"loss": scalar}; "predict": for each person `predicted` and `points`.
        """
        places = self.places(inputs)
        if data_samples is None or mode == "tensor":
            return places
        if mode == "predict":
            pairs = zip(places, data_samples, strict=True)
            return [{"predicted": ours, "points": truth} for ours, truth in pairs]
        labelled = (data_samples[:, :, 2:] > 0).float()
        distances = (places - data_samples[:, :, :2]).abs() * labelled
        # Each person counts alike, so that several processes' shares average to the whole batch.
        return {"loss": (distances.sum(dim=(1, 2)) / labelled.sum(dim=(1, 2))).mean()}


def _centers(count: int, like: Tensor) -> Tensor:
    return (torch.arange(count, device=like.device) + 0.5) / count
