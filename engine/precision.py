"""Number formats of the training step: float32, bfloat16 by autocast, float16 with loss scaling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

Precision = Literal["float32", "bfloat16", "float16"]


class Bfloat16OptimWrapper(OptimWrapper):
    """Autocast to bfloat16 on the CPU, which mmengine's AmpOptimWrapper refuses."""

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast("cpu", torch.bfloat16):
            yield


def half_precision() -> Precision:
    """The half format that pays here: float16 on CUDA; on CPUs bfloat16 where there are
    instructions for it, else float32, since emulated bfloat16 is slower than float32."""
    if torch.cuda.is_available():
        return "float16"
    # torch has no public query for these instructions yet.
    if torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported():
        return "bfloat16"
    return "float32"


def optim_wrapper(
    optimizer: torch.optim.Optimizer | dict[str, Any],
    *,
    precision: Precision = "float32",
    accumulate: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """mmengine's configuration of an optimizer step.

    accumulate: micro-batches per step; options: mmengine's (clip_grad, paramwise_cfg).
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, not {accumulate}")
    common = dict(optimizer=optimizer, accumulative_counts=accumulate, **options)
    if precision == "float32":
        return dict(type=OptimWrapper, **common)
    if precision == "bfloat16" and not torch.cuda.is_available():
        return dict(type=Bfloat16OptimWrapper, **common)
    scaling = {"loss_scale": "dynamic"} if precision == "float16" else {}
    return dict(type=AmpOptimWrapper, dtype=precision, **scaling, **common)
