"""Networks with weights that tell: no gamma is 1, no running mean 0."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from backbones import create_backbone, save_artifact


def _perturb(model: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.weight.uniform_(0.5, 1.5, generator=generator)
                module.bias.normal_(0, 0.1, generator=generator)
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.1, generator=generator)
                module.running_var.uniform_(0.5, 1.5, generator=generator)
    return model


@pytest.fixture(scope="session")
def perturb() -> Callable[..., nn.Module]:
    """perturb(model, seed=0) -> model with random gammas, betas and running statistics."""
    return _perturb


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """The networks here are small: threads would only wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact of a perturbed resnet18d at quarter width with a classifier of 10 classes."""
    directory = tmp_path_factory.mktemp("artifacts") / "resnet18d"
    torch.manual_seed(0)
    backbone = create_backbone("resnet18d", width=0.25)
    _perturb(backbone)
    head = {"weight": torch.randn(10, 128), "bias": torch.randn(10)}
    save_artifact(directory, backbone, {"weights": "trained", "seed": 0}, head=head)
    return directory
