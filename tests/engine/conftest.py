"""A network of two layers on a line of points, under the runner that all stages share."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from engine.loaders import train_loader
from engine.precision import optim_wrapper
from engine.randomness import SampleKey, sample_rng
from engine.runner import QuietRunner, build_runner

POINTS = 24


class NoisyPoints(Dataset):
    """y = x w for 24 fixed x, which each pass sees with other noise."""

    def __len__(self) -> int:
        return POINTS

    def __getitem__(self, key: SampleKey | int) -> dict[str, Tensor]:
        sample = key if isinstance(key, int) else key.sample
        x = np.random.default_rng(sample).normal(size=4)
        y = x @ np.array([1.0, -2.0, 0.5, 3.0])
        if isinstance(key, SampleKey):
            x = x + 0.01 * sample_rng(5, key).normal(size=4)
        return {"x": torch.tensor(x).float(), "y": torch.tensor([y]).float()}


class Toy(BaseModel):
    """dropout: its share. noise: times a draw from the step's own generator, added to x."""

    def __init__(self, *, dropout: float = 0.0, noise: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Linear(4, 8), nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 1, bias=False)
        )
        self.noise, self.rng = noise, np.random.default_rng()
        self.poison = 1.0
        self.outputs: Tensor | None = None

    def forward(self, x: Tensor, y: Tensor, mode: str = "tensor") -> Any:
        if mode == "loss" and self.noise:
            x = x + self.noise * torch.from_numpy(self.rng.normal(size=x.shape)).float()
        self.outputs = self.body(x)
        if mode == "loss":
            return {"loss_points": self.poison * (self.outputs - y).square().mean()}
        return [{"output": output} for output in self.outputs]


class Outputs(BaseMetric):
    """What the network said of each point."""

    default_prefix = ""

    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Tensor]]) -> None:
        self.results += [float(sample["output"]) for sample in data_samples]

    def compute_metrics(self, results: list[float]) -> dict[str, Any]:
        return {"outputs": results}


@pytest.fixture(scope="session")
def toy() -> type[Toy]:
    return Toy


@pytest.fixture
def points() -> DataLoader:
    """All points in order, without noise."""
    return DataLoader(NoisyPoints(), batch_size=POINTS)


@pytest.fixture
def make_runner(forget_mmengine: Callable[[], None]) -> Callable[..., QuietRunner]:
    """make_runner(work_dir, model, steps=..., batch_size=..., ...) -> a runner ready to train.

    precision, accumulate: of the optimizer step; what else is given goes to build_runner.
    """

    def make(
        work_dir: Path,
        model: nn.Module,
        *,
        steps: int = 20,
        batch_size: int = 8,
        workers: int = 0,
        precision: str = "float32",
        accumulate: int = 1,
        hooks: Sequence[Hook] = (),
        **options: Any,
    ) -> QuietRunner:
        forget_mmengine()
        optimizer = dict(type="SGD", lr=0.01, momentum=0.9, weight_decay=1e-4)
        return build_runner(
            label="toy",
            model=model,
            loader=train_loader(NoisyPoints(), batch_size=batch_size, seed=5, workers=workers),
            steps=steps,
            optim_wrapper=optim_wrapper(optimizer, precision=precision, accumulate=accumulate),
            work_dir=work_dir,
            seed=5,
            hooks=hooks,
            **options,
        )

    return make


@pytest.fixture
def leaked_memory() -> Callable[[], set[str]]:
    """leaked_memory() -> the files of shared memory that are new since the test began and stay.

    What other processes share meanwhile goes away with them.
    """

    def names() -> set[str]:
        return set(os.listdir("/dev/shm"))

    before = names()

    def leaked() -> set[str]:
        left, deadline = names() - before, time.monotonic() + 30
        while left and time.monotonic() < deadline:
            time.sleep(0.1)
            left &= names()
        return left

    return leaked


@pytest.fixture
def validation(points: DataLoader) -> dict[str, Any]:
    """Of make_runner: validates at the end what the network says of each point."""
    return {"val_loader": points, "val_metric": Outputs()}
