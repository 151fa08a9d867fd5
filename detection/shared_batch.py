"""Faster R-CNN on a share of a batch as on the whole: padding, drawn samples, losses' divisors.

In one process the images of a batch are padded to the largest, the samples of each image are
drawn in turn from one generator, and the losses are divided by the number of all samples. Several
processes agree on each of the three, so that the mean of their losses is that of one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import RPNHead
from mmdet.models.roi_heads.bbox_heads import Shared2FCBBoxHead
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS, TASK_UTILS
from torch import Tensor, nn
from torch.nn.functional import pad

from engine.processes import rank
from engine.shared_batch import is_shared, largest, mean_count, whole


def share_batches(model: Any) -> None:
    """Changes a Faster R-CNN's configuration in place to that of a training by several
    processes."""
    model.data_preprocessor.batch_augments = [dict(type="mmdet.PadToLargest")]
    model.rpn_head.type = "mmdet.SharedRPNHead"
    model.roi_head.bbox_head.type = "mmdet.SharedBBoxHead"
    model.train_cfg.rpn.sampler.type = "mmdet.SharedRandomSampler"
    model.train_cfg.rcnn.sampler.type = "mmdet.SharedRandomSampler"


@MODELS.register_module()
class PadToLargest(nn.Module):
    """Pads a batch (B, C, H, W) with zeros, at the right and the bottom, to the largest share's."""

    def forward(self, inputs: Tensor, samples: Sequence[Any]) -> tuple[Tensor, Sequence[Any]]:
        size = list(inputs.shape[-2:])
        height, width = largest(size)
        for sample in samples:
            sample.set_metainfo({"batch_input_shape": (height, width)})
        return pad(inputs, (0, width - size[1], 0, height - size[0])), samples


@MODELS.register_module()
class SharedRPNHead(RPNHead):
    """Divides its losses by the samples of all processes' images."""

    def get_targets(self, *arguments: Any, **options: Any) -> Any:
        # Four lists of targets, the divisor, and what the caller asked for beside them.
        found = super().get_targets(*arguments, **options)
        divisor = mean_count(found[4], found[0][0].device)
        return (*found[:4], divisor, *found[5:])


@MODELS.register_module()
class SharedBBoxHead(Shared2FCBBoxHead):
    """Divides its losses by the samples of all processes' images."""

    def loss(
        self, cls_score: Tensor, bbox_pred: Tensor, rois: Tensor, *targets: Any, **options: Any
    ) -> dict[str, Tensor]:
        losses = super().loss(cls_score, bbox_pred, rois, *targets, **options)
        samples = len(rois)  # MMDetection has divided by these
        factor = samples / mean_count(samples, rois.device)
        return {name: value * factor for name, value in losses.items()}


@TASK_UTILS.register_module()
class SharedRandomSampler(RandomSampler):
    """Draws for its images what one process would: the draws for those of others are passed over.

    The processes' n-th images follow each other in the batch, and all sample their n-th at one
    time. A draw is a permutation, that of n candidates n - 1 numbers of torch's generator.
    """

    def _sample_pos(self, assign_result: Any, num_expected: int, **options: Any) -> Any:
        if not is_shared():
            return super()._sample_pos(assign_result, num_expected, **options)
        draws = whole(self._draws(assign_result.gt_inds, num_expected)[None]).tolist()
        _pass_over(draws[: rank()])
        self._later = draws[rank() + 1 :]
        return super()._sample_pos(assign_result, num_expected, **options)

    def _sample_neg(self, assign_result: Any, num_expected: int, **options: Any) -> Any:
        found = super()._sample_neg(assign_result, num_expected, **options)
        if is_shared():
            _pass_over(self._later)
        return found

    def _draws(self, assigned: Tensor, most_positive: int) -> Tensor:
        """Of how many candidates (2,) positive and negative samples are drawn; 0: all are taken."""
        positive, negative = (assigned > 0).sum(), (assigned == 0).sum()
        most_negative = self.num - positive.clamp(max=most_positive)
        return torch.stack(
            [positive * (positive > most_positive), negative * (negative > most_negative)]
        )


def _pass_over(draws: Sequence[Sequence[int]]) -> None:
    """Moves torch's CPU generator as permutations of so many candidates would."""
    numbers = sum(max(0, candidates - 1) for image in draws for candidates in image)
    torch.empty(numbers, dtype=torch.int32).random_()
