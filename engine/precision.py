"""Number formats of the training step: float32, bfloat16 by autocast, float16 with loss scaling."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from mmengine.optim import AmpOptimWrapper, OptimWrapper
from torch import nn

Precision = Literal["float32", "bfloat16", "float16"]

_OVERFLOWED = "overflowed_steps"


class HalfOptimWrapper(AmpOptimWrapper):
    """mmengine's AmpOptimWrapper on the CPU too: autocast, and for float16 a loss scale.

    The optimizer's weights stay float32 (Micikevicius et al. 2018, arXiv:1710.03740). loss_scale:
    a fixed factor on the loss, or "dynamic": halved where a gradient is not finite, whose step is
    left out, and doubled after 2000 steps without. overflowed_steps: how many were left out.
    """

    def __init__(
        self,
        *,
        precision: Literal["bfloat16", "float16"],
        loss_scale: float | Literal["dynamic"] = "dynamic",
        **options: Any,
    ) -> None:
        OptimWrapper.__init__(self, **options)  # AmpOptimWrapper's own refuses a CPU
        self.cast_dtype = getattr(torch, precision)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        fixed = None if loss_scale == "dynamic" else float(loss_scale)
        self._scale_update_param = fixed
        self.loss_scaler = torch.amp.GradScaler(
            self.device,
            init_scale=2.0**16 if fixed is None else fixed,
            enabled=precision == "float16",  # bfloat16 has the range of float32
        )
        self.overflowed_steps = 0
        self._moved = False
        self.optimizer.register_step_post_hook(self._note_move)

    def step(self, **options: Any) -> None:
        self._moved = False
        super().step(**options)  # the scaler calls the optimizer only where nothing overflowed
        self.overflowed_steps += not self._moved

    def _note_move(self, *_: Any) -> None:
        self._moved = True

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), _OVERFLOWED: self.overflowed_steps}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.overflowed_steps = state_dict[_OVERFLOWED]
        super().load_state_dict({k: v for k, v in state_dict.items() if k != _OVERFLOWED})

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with (
            OptimWrapper.optim_context(self, model),
            torch.autocast(self.device, self.cast_dtype),
        ):
            yield


def overflowed_steps(wrapper: OptimWrapper) -> int | None:
    """How many steps were left out because a float16 gradient overflowed; None: another format."""
    scaled = isinstance(wrapper, HalfOptimWrapper) and wrapper.loss_scaler.is_enabled()
    return wrapper.overflowed_steps if scaled else None


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
    loss_scale: float | Literal["dynamic"] = "dynamic",
    accumulate: int = 1,
    **options: Any,
) -> dict[str, Any]:
    """mmengine's configuration of an optimizer step.

    loss_scale: of float16. accumulate: micro-batches per step; options: mmengine's (clip_grad,
    paramwise_cfg).
    """
    if accumulate < 1:
        raise ValueError(f"accumulate must be at least 1, not {accumulate}")
    common = dict(optimizer=optimizer, accumulative_counts=accumulate, **options)
    if precision == "float32":
        return dict(type=OptimWrapper, **common)
    return dict(type=HalfOptimWrapper, precision=precision, loss_scale=loss_scale, **common)
