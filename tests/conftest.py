"""What tests of several folders share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest


def _forget_mmengine() -> None:
    if "mmengine" not in sys.modules:
        return
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.registry import DefaultScope
    from mmengine.visualization import Visualizer

    for kept in (MMLogger, MessageHub, DefaultScope, Visualizer):
        kept._instance_dict.clear()


@pytest.fixture
def forget_mmengine() -> Callable[[], None]:
    """Drops what mmengine keeps per process, as if the next Runner were in a process of its own."""
    return _forget_mmengine


@pytest.fixture(autouse=True)
def _no_trace_of_runners() -> Iterator[None]:
    """A Runner leaves its scope behind, in which the next test would build its models."""
    yield
    _forget_mmengine()
