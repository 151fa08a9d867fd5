"""The memory format moves no draw: a switch that acted as another seed would be no switch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from engine.runner import QuietRunner


class Drawn(BaseModel):
    """Draws its weights when mmengine says so, as the heads of detectors do."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(2, 4, 3, padding=1)

    def init_weights(self) -> None:
        nn.init.normal_(self.convolution.weight)

    def forward(self, inputs: Tensor, labels: Tensor, mode: str = "tensor") -> Any:
        return {"loss": self.convolution(torch.ones(2, 2, 5, 5)).square().mean()}


def test_the_weights_are_drawn_alike(
    make_runner: Callable[..., QuietRunner], tmp_path: Path
) -> None:
    drawn = {}
    for channels_last in (False, True):
        runner = make_runner(
            tmp_path / str(channels_last), Drawn(), steps=1, channels_last=channels_last
        )
        runner._init_model_weights()
        drawn[channels_last] = runner.model.convolution.weight.detach()
    assert torch.equal(drawn[False], drawn[True])
    assert drawn[True].is_contiguous(memory_format=torch.channels_last)
    assert not drawn[False].is_contiguous(memory_format=torch.channels_last)
